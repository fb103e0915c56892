//! The operator in a real cluster: installed by its chart, upgraded by a real control plane, brought back by itself.
//!
//! Every trial has a namespace, an executor and versions of its own; control plane, cluster and registry are shared, but where a
//! trial stops one of them.

mod matrix;
mod nodes;
mod outage;
mod people;
mod reasons;
mod scene;

use libtest_mimic::Trial;

pub(crate) use scene::end_shared;

/// Those that are run alone: the crash matrix.
pub(crate) fn matrix() -> Vec<Trial> {
    matrix::trials()
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = reasons::trials();
    // The longest of them: not last, when nobody else is left to wait beside.
    trials.extend(nodes::trials());
    trials.extend(outage::trials());
    trials.extend(people::trials());
    trials
}
