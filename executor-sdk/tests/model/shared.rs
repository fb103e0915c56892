//! A part of the world that most events leave as it is: shared between worlds, and fingerprinted when it changes.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A value and its fingerprint.
#[derive(Clone, Debug)]
pub(crate) struct Shared<T> {
    value: Arc<T>,
    fingerprint: u64,
}

impl<T: Clone + Hash> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        let fingerprint = fingerprint(&value);
        Self { value: Arc::new(value), fingerprint }
    }

    /// Changes it, for this world only.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let answer = change(Arc::make_mut(&mut self.value));
        self.fingerprint = fingerprint(&*self.value);
        answer
    }

    pub(crate) const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// The same for the same value, in every run.
pub(crate) fn fingerprint(value: &impl Hash) -> u64 {
    let mut hasher = Folded(0x9e37_79b9_7f4a_7c15);
    value.hash(&mut hasher);
    hasher.finish()
}

/// A 64-bit hash by folded multiplication. The standard one, compiled without optimization as tests are, would take most
/// of the exploration's time.
struct Folded(u64);

impl Folded {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(0xe703_7ed1_a0b4_28db_8ebc_6af0_9c88_c6e3);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are folded into one")]
        let folded = (product as u64) ^ ((product >> 64) as u64);
        self.0 = folded.rotate_left(23);
    }
}

impl Hasher for Folded {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
        self.fold(bytes.len() as u64);
    }

    fn write_u8(&mut self, n: u8) {
        self.fold(n.into());
    }

    fn write_u32(&mut self, n: u32) {
        self.fold(n.into());
    }

    fn write_u64(&mut self, n: u64) {
        self.fold(n);
    }

    fn write_i64(&mut self, n: i64) {
        self.fold(n.cast_unsigned());
    }

    fn write_usize(&mut self, n: usize) {
        self.fold(n as u64);
    }

    fn write_isize(&mut self, n: isize) {
        self.fold(n.cast_unsigned() as u64);
    }
}
