//! Asking at the pace that the control plane bears: its limits hold for a benchmark too.

use std::time::Duration;

use tonic::{Code, Status};

/// About what the API says when it was asked too fast.
const REST: Duration = Duration::from_millis(20);

/// Asks, and again for as long as the answer is that it was too fast.
pub(crate) async fn again<T, F>(mut ask: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    loop {
        match ask().await {
            Err(error) if error.downcast_ref::<Status>().is_some_and(|told| told.code() == Code::ResourceExhausted) => {
                tokio::time::sleep(REST).await;
            }
            answer => return answer,
        }
    }
}
