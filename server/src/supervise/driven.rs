//! Streams that go on by themselves, a step ahead of whoever reads them.
//!
//! ```text
//! stream -> task -> one place -> reader
//! ```
//!
//! The body of an answer is polled only while its peer takes what it is sent. A stream that reads the store must not stand on
//! that: left in the middle of a read it holds what the read holds (a place in a queue, a connection of a pool), and a few
//! peers that take nothing would hold all there is. Here a slow reader holds one item, and its stream rests between two.

use std::pin::pin;

use futures_util::stream::unfold;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::{OnCancel, OnError, Supervisor};

/// What the task sends.
enum Step<T> {
    Item(T),
    /// The stream ended, and its task did not die.
    End,
}

impl Supervisor {
    /// Drives `stream` in a task of its own, which ends with its reader. `lost` is the last item when the task ends before the
    /// stream does: it panicked, or its storey was stopped.
    pub fn drive<S>(&self, name: &'static str, stream: S, lost: S::Item) -> impl Stream<Item = S::Item> + Send + use<S>
    where
        S: Stream<Item: Send> + Send + 'static,
    {
        let (steps, read) = mpsc::channel(1);
        self.spawn(name, OnCancel::Abort, OnError::Log, async move {
            run(stream, steps).await;
            Ok(())
        });
        unfold((read, Some(lost)), |(mut read, mut lost)| async move {
            // Taken: the stream has ended.
            lost.as_ref()?;
            let item = match read.recv().await {
                Some(Step::Item(item)) => item,
                Some(Step::End) => return None,
                None => lost.take()?,
            };
            Some((item, (read, lost)))
        })
    }
}

async fn run<S: Stream>(stream: S, steps: mpsc::Sender<Step<S::Item>>) {
    let mut stream = pin!(stream);
    // A place first: the stream is asked for nothing that its reader has no room for.
    while let Ok(place) = steps.reserve().await {
        let next = tokio::select! {
            () = steps.closed() => return,
            next = stream.next() => next,
        };
        match next {
            Some(item) => place.send(Step::Item(item)),
            None => return place.send(Step::End),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::stream::{iter, pending};
    use tokio::sync::Semaphore;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn supervisor() -> Supervisor {
        Supervisor::new("only", CancellationToken::new())
    }

    #[tokio::test]
    async fn everything_arrives_in_order_and_then_the_end() {
        let numbers: Vec<i32> = supervisor().drive("numbers", iter(0..100), -1).collect().await;
        assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_one_item_and_no_place_in_a_queue() {
        // A place that the stream takes and gives back within one step, as a read of the store does.
        let places = Arc::new(Semaphore::new(1));
        let steps = Arc::new(AtomicUsize::new(0));
        let reading = {
            let (places, steps) = (Arc::clone(&places), Arc::clone(&steps));
            unfold((), move |()| {
                let (places, steps) = (Arc::clone(&places), Arc::clone(&steps));
                async move {
                    let _place = places.acquire().await.expect("it is open");
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    Some((steps.fetch_add(1, Ordering::SeqCst), ()))
                }
            })
        };
        let supervisor = supervisor();
        let mut read = Box::pin(supervisor.drive("slow", reading, usize::MAX));
        assert_eq!(read.next().await, Some(0));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(steps.load(Ordering::SeqCst), 2, "one was taken, one waits");
        assert_eq!(places.available_permits(), 1, "and the stream rests outside of a read");
        drop(read);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(supervisor.tasks(), 0, "the task ends with its reader");
    }

    #[tokio::test]
    async fn a_reader_that_goes_ends_a_stream_that_waits() {
        let supervisor = supervisor();
        drop(supervisor.drive("waits", pending::<i32>(), -1));
        tokio::time::timeout(Duration::from_secs(5), async {
            while supervisor.tasks() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("it ends");
    }

    #[tokio::test]
    async fn a_stream_that_dies_is_not_taken_for_one_that_ended() {
        let numbers = iter(0..3).map(|n| if n < 2 { n } else { panic!("by a test") });
        let read: Vec<i32> = supervisor().drive("dies", numbers, -1).collect().await;
        assert_eq!(read, [0, 1, -1]);
        let supervisor = supervisor();
        let read = supervisor.drive("stopped", pending::<i32>(), -1);
        supervisor.stop(Duration::from_secs(5)).await;
        assert_eq!(read.collect::<Vec<_>>().await, [-1]);
    }
}
