//! The machines that the executor sees: all of them on a new stream, then only what is different.
//!
//! What is said here is not repeated, so it is said only where there is room for it; and in pieces, since a cluster may have more
//! machines than fit into one message.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;

use domain::sync::{Inventory, Node};
use tokio::sync::watch;

use crate::executor::Executor;

/// Most machines of one message: a thousand of some 250 bytes are a quarter of the 1 MiB that the control plane takes.
const PIECE: usize = 1_000;

pub(super) struct Machines {
    news: Option<watch::Receiver<Option<Vec<Node>>>>,
    /// What this stream was told, or is about to be; none: nothing yet.
    told: Option<Vec<Node>>,
    unsaid: VecDeque<Inventory>,
}

impl Machines {
    pub(super) fn of<E: Executor>(executor: &E) -> Self {
        Self { news: executor.nodes(), told: None, unsaid: VecDeque::new() }
    }

    /// A new stream: all of them are to be told, once they are known. That they are not known is another thing than that there
    /// are none.
    pub(super) async fn begin<E: Executor>(&mut self, executor: &E) {
        let nodes = match &mut self.news {
            Some(news) => news.borrow_and_update().clone(),
            None => Some(executor.inventory().await),
        };
        self.told = None;
        self.unsaid.clear();
        if let Some(nodes) = nodes {
            self.tell(nodes);
        }
    }

    /// What is to be said next. Cancel safe.
    pub(super) async fn next(&mut self) -> Inventory {
        loop {
            if let Some(next) = self.unsaid.pop_front() {
                return next;
            }
            let Some(news) = &mut self.news else {
                return pending().await;
            };
            if news.changed().await.is_err() {
                // Nobody looks any more: what was told stays.
                return pending().await;
            }
            let now = news.borrow_and_update().clone();
            if let Some(now) = now {
                self.tell(now);
            }
        }
    }

    fn tell(&mut self, now: Vec<Node>) {
        let word = match &self.told {
            None => Some(Inventory::Full(now.clone())),
            Some(before) => delta(before, &now),
        };
        self.unsaid.extend(word.into_iter().flat_map(|word| pieces(word, PIECE)));
        self.told = Some(now);
    }
}

/// The same in messages of at most `most` machines; said in order they come to the same.
fn pieces(word: Inventory, most: usize) -> Vec<Inventory> {
    let delta = |present: &[Node], removed: &[String]| Inventory::Delta {
        present: present.to_vec(),
        removed: removed.to_vec(),
    };
    match word {
        Inventory::Full(nodes) if nodes.len() > most => {
            let (first, rest) = nodes.split_at(most);
            let rest = rest.chunks(most).map(|chunk| delta(chunk, &[]));
            std::iter::once(Inventory::Full(first.to_vec())).chain(rest).collect()
        }
        Inventory::Delta { present, removed } if present.len() + removed.len() > most => {
            let gone = removed.chunks(most).map(|chunk| delta(&[], chunk));
            gone.chain(present.chunks(most).map(|chunk| delta(chunk, &[]))).collect()
        }
        small => vec![small],
    }
}

/// What leads from `before` to `now`; nothing when they are the same.
fn delta(before: &[Node], now: &[Node]) -> Option<Inventory> {
    let by_name = |nodes: &[Node]| -> BTreeMap<String, Node> {
        nodes.iter().map(|node| (node.name.clone(), node.clone())).collect()
    };
    let (before, now) = (by_name(before), by_name(now));
    let removed: Vec<String> = before.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
    let present: Vec<Node> = now.into_values().filter(|node| before.get(&node.name) != Some(node)).collect();
    (!removed.is_empty() || !present.is_empty()).then_some(Inventory::Delta { present, removed })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn node(name: &str, ready: bool) -> Node {
        Node {
            name: name.to_owned(),
            platform: "linux/amd64".to_owned(),
            kernel_version: String::new(),
            os_image: String::new(),
            kubelet_version: "v1.36.3".to_owned(),
            ready,
        }
    }

    fn many(of: usize) -> Vec<Node> {
        (0..of).map(|n| node(&format!("n-{n:02}"), true)).collect()
    }

    fn machines(now: Option<Vec<Node>>) -> (watch::Sender<Option<Vec<Node>>>, Machines) {
        let (sender, news) = watch::channel(now);
        (sender, Machines { news: Some(news), told: None, unsaid: VecDeque::new() })
    }

    struct Nobody;

    impl Executor for Nobody {
        fn describe(&self) -> crate::executor::Description {
            unreachable!("nobody asks")
        }

        async fn preflight(
            &self,
            _: &crate::executor::Plan,
        ) -> Result<crate::executor::Workplace, crate::executor::Failure> {
            unreachable!("nobody asks")
        }

        async fn apply(
            &self,
            _: crate::executor::Prepared,
            _: crate::executor::Leave,
        ) -> Result<crate::executor::Applied, crate::executor::Failure> {
            unreachable!("nobody asks")
        }

        async fn roll_back(&self, _: domain::AttemptId) -> Result<crate::executor::Applied, crate::executor::Failure> {
            unreachable!("nobody asks")
        }
    }

    #[test]
    fn only_what_is_different_is_told() {
        let before = [node("a", true), node("b", true), node("c", true)];
        let now = [node("b", false), node("c", true), node("d", true)];
        let expected =
            Inventory::Delta { present: vec![node("b", false), node("d", true)], removed: vec!["a".to_owned()] };
        assert_eq!(delta(&before, &now), Some(expected));
        assert_eq!(delta(&now, &now), None);
    }

    #[tokio::test]
    async fn the_first_word_of_a_stream_is_all_of_them_however_late_they_are_known() {
        let (sender, mut machines) = machines(None);
        machines.begin(&Nobody).await;
        sender.send_replace(Some(vec![node("a", true)]));
        // What an earlier stream had told and is gone since must not stay for ever.
        assert_eq!(machines.next().await, Inventory::Full(vec![node("a", true)]));
        sender.send_replace(Some(vec![node("b", true)]));
        let delta = Inventory::Delta { present: vec![node("b", true)], removed: vec!["a".to_owned()] };
        assert_eq!(machines.next().await, delta);
        machines.begin(&Nobody).await;
        assert_eq!(machines.next().await, Inventory::Full(vec![node("b", true)]));
    }

    #[test]
    fn pieces_come_to_the_same_as_the_whole() {
        let apply = |seen: &mut BTreeSet<String>, word: Inventory| {
            let (present, removed) = match word {
                Inventory::Full(nodes) => {
                    seen.clear();
                    (nodes, Vec::new())
                }
                Inventory::Delta { present, removed } => (present, removed),
            };
            assert!(present.len() + removed.len() <= 3);
            removed.iter().for_each(|name| assert!(seen.remove(name), "{name}"));
            seen.extend(present.into_iter().map(|node| node.name));
        };
        let names = |nodes: &[Node]| nodes.iter().map(|node| node.name.clone()).collect::<BTreeSet<_>>();
        for of in [0, 1, 3, 4, 8] {
            let mut seen = BTreeSet::from(["old".to_owned()]);
            pieces(Inventory::Full(many(of)), 3).into_iter().for_each(|word| apply(&mut seen, word));
            assert_eq!(seen, names(&many(of)));
            let now = many(20).split_off(7);
            let word = delta(&many(of), &now).expect("a difference");
            pieces(word, 3).into_iter().for_each(|word| apply(&mut seen, word));
            assert_eq!(seen, names(&now));
        }
    }
}
