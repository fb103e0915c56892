//! The rules of the house, as tests.
//!
//! Each rule is one trial; a broken rule names file, line, rule and remedy. What a rule lets pass is listed beside it with
//! a reason, and an entry that is no longer needed is itself a failure: the lists only shrink.
//!
//! Where clippy can say it (`clippy.toml`, the lints of `Cargo.toml`), clippy says it. Here is what needs to know the
//! floors, production from tests, or documents beside code.

mod documents;
mod finding;
mod floors;
mod functions;
mod shape;
mod source;
mod surface;
mod tables;
mod words;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Trial};

use finding::Findings;
use source::House;

type Rule = fn(&House) -> Findings;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let rules: &[(&str, Rule)] = &[
        ("crates_stand_on_lower_floors_only", floors::edges),
        ("the_ground_floor_is_pure", floors::ground),
        ("files_and_functions_stay_small", shape::sizes),
        ("every_file_says_what_it_is", shape::module_docs),
        ("modules_are_named_files", shape::named_files),
        ("test_names_are_claims", shape::claims),
        ("banned_words_stay_out", words::banned),
        ("only_one_file_builds_a_status", words::status),
        ("every_rpc_is_in_the_access_table", surface::access),
        ("every_metric_is_named_once", surface::metrics),
        ("the_readme_begins_with_the_two_commands", documents::readme),
        ("links_in_documents_resolve", documents::links),
        ("every_attack_names_a_test_that_exists", tables::attacks),
        ("every_rule_of_the_design_is_a_test_by_name", tables::rules),
        ("the_page_of_reasons_the_domain_and_the_proto_agree", tables::reasons),
    ];
    let house = Arc::new(House::load());
    let trials = rules
        .iter()
        .map(|&(name, rule)| {
            let house = Arc::clone(&house);
            Trial::ignorable_test(name, move || finding::verdict(rule(&house)))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
