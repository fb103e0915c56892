//! `novacula-server`: reads the command line, begins to log, and hands over to the library.

use std::process::ExitCode;

use clap::Parser as _;
use novacula_server::args::Arguments;
use novacula_server::console;
use tikv_jemallocator::Jemalloc;

/// Each stream has some 24 KiB of buffers that are hardly touched. An allocator that makes them of pages which another connection has
/// used pays for all of it, so this one is built to give freed pages back at once: `.cargo/config.toml`, decision 0015.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    console::main(Arguments::parse())
}
