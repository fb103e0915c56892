//! How long operations take, for whoever counts.

use std::sync::Arc;
use std::time::Duration;

/// Told how long each operation took, by its name; for `novacula_store_seconds{operation}`.
pub type Observer = Arc<dyn Fn(&'static str, Duration) + Send + Sync>;
