//! The allocator of the binary, as it is built: one that lost `.cargo/config.toml` holds on to what a storm of connections took.

use std::process::Command;

#[test]
fn freed_memory_goes_back_to_the_kernel_at_once() {
    let mut ask = Command::new(env!("CARGO_BIN_EXE_novacula-server"));
    // Said on stderr when the process ends.
    ask.arg("--version").env("_RJEM_MALLOC_CONF", "stats_print:true");
    let said = ask.output().expect("it runs").stderr;
    let said = String::from_utf8_lossy(&said);
    for setting in ["opt.dirty_decay_ms: 0 ", "opt.muzzy_decay_ms: 0 "] {
        assert!(said.contains(setting), "{setting}is not in what jemalloc says of itself:\n{said}");
    }
}
