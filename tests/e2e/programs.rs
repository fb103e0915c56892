//! The programs that cargo built for this suite.

use harness::fleet::Programs;

pub(crate) fn programs() -> Programs {
    Programs {
        server: env!("CARGO_BIN_EXE_fixture-server").into(),
        novacula: env!("CARGO_BIN_EXE_fixture-novacula").into(),
        agent: env!("CARGO_BIN_EXE_fixture-agent").into(),
    }
}
