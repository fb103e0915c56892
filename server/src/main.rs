//! `novacula-server`: reads the command line, begins to log, and hands over to the library.

use std::process::ExitCode;

use clap::Parser as _;
use novacula_server::args::Arguments;
use novacula_server::console;

fn main() -> ExitCode {
    console::main(Arguments::parse())
}
