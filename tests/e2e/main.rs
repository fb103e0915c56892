//! Real systemd in machines of their own.

mod lab;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    lab::sleep_if_told();
    let arguments = Arguments::from_args();
    libtest_mimic::run(&arguments, lab::trials()).exit_code()
}
