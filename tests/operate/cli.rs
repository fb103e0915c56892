//! Every command of `novacula` against a control plane of its own, as people type it and as programs read it, and the exit
//! codes that `--help` promises.
//!
//! The commands are taken from `--help`: one that no case here runs, as a table and as JSON, fails the suite.

mod catalog;

mod exit;

mod fleet;

mod people;

mod shell;

mod terminal;

mod upgrades;

use std::fs;

use anyhow::{Context as _, ensure};
use harness::fake_executor::FakeExecutor;
use harness::parts::Part;
use libtest_mimic::Trial;

use crate::{Result, trial};
use shell::Shell;

/// What prints no resource: a script, a line to sign, or nothing but a note.
const ONE_FORM: [&str; 5] = ["completions", "context remove", "context use", "executor delete", "release manifest"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("every_command_of_novacula_answers_people_and_programs", &[], every_command),
        trial("exit_codes_are_those_of_the_help_and_errors_keep_to_stderr", &[], exit::codes),
        trial("on_a_terminal_bars_are_drawn_in_place_and_leave_nothing_behind", &[Part::Script], terminal::bars),
        trial("waiting_ends_as_the_attempt_does", &[], upgrades::waiting),
    ]
}

async fn every_command() -> Result {
    let shell = Shell::new()?;
    catalog::run(&shell).await?;
    let executor = FakeExecutor::by_word(&shell.daemon().join_word("web-1").await?, "1.0.0").await?;
    let mut stream = executor.connect().await?;
    let executors = async {
        fleet::run(&shell, &stream).await?;
        upgrades::run(&shell, &mut stream).await
    };
    // Side by side, since each command is a process: half the time.
    tokio::try_join!(executors, people::run(&shell), catalog::yank(&shell))?;
    complete(&shell).await
}

/// Every leaf of the help was run, in each form that it has.
async fn complete(shell: &Shell) -> Result {
    let nouns = shell.commands(&[]).await?;
    ensure!(nouns.len() >= 10, "the help names its commands: {nouns:?}");
    let mut leaves = Vec::new();
    for noun in nouns {
        let verbs = shell.commands(&[&noun]).await?;
        leaves.extend(verbs.iter().map(|verb| format!("{noun} {verb}")));
        if verbs.is_empty() {
            leaves.push(noun);
        }
    }
    for leaf in &leaves {
        let forms: &[&str] = if ONE_FORM.contains(&leaf.as_str()) { &["table"] } else { &["table", "json"] };
        for form in forms {
            ensure!(shell.ran(leaf, form), "no case runs `novacula {leaf}` with --output {form}");
        }
    }
    let gone = ONE_FORM.iter().find(|word| !leaves.iter().any(|leaf| leaf == *word));
    ensure!(gone.is_none(), "{gone:?} is no command");
    Ok(())
}

/// Reads a line of a file that a command wrote.
fn first_line(path: &std::path::Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
