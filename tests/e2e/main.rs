//! Real systemd in machines of their own; real control planes, agents and releases on them.

mod idle;

mod lab;

mod late;

mod matrix;

mod programs;

mod recovery;

mod refusal;

mod restore;

mod scenario;

mod units;

mod upgrade;

mod way_back;

mod weather;

use std::process::ExitCode;

use libtest_mimic::Arguments;

/// Scenarios wait for windows most of the time, so more of them run than there are processors.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    lab::sleep_if_told();
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    // Those that wait longest come first, so that nothing waits for them at the end.
    let mut trials = upgrade::trials();
    trials.extend(weather::trials());
    trials.extend(recovery::trials());
    trials.extend(way_back::trials());
    trials.extend(refusal::trials());
    trials.extend(restore::trials());
    trials.extend(late::trials());
    trials.extend(idle::trials());
    trials.extend(units::trials());
    trials.extend(lab::trials());
    trials.extend(matrix::trials());
    libtest_mimic::run(&arguments, trials).exit_code()
}
