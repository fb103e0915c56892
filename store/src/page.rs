//! Lists are paged by key: the last key seen, and how many rows.

/// Which rows of an ordered list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<K> {
    /// Rows after this key; none: from the beginning.
    pub after: Option<K>,
    /// At most this many.
    pub limit: usize,
}
