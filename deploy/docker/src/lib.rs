//! Container images of the products, made of files: no Docker daemon, no shell, no base that somebody else put together.
//!
//! An image is two layers. The lower one ([`base`]) holds what a dynamically linked Rust program needs and nothing else: the C
//! library, the compiler's, the public authorities, a user without rights; all of it out of Debian's own packages. The upper one
//! ([`product`]) holds the program and its bill of materials ([`sbom`]).
//!
//! The same program and the same packages give the same digests, byte for byte, on any machine: names are sorted, owners are
//! numbers, times are zero ([`layer`]). That is what lets a stranger check an image against its sources.
//!
//! What was made is a [`layout`] (a tar that containerd, podman and skopeo read) or goes to a registry ([`push`]).

pub mod base;
pub mod blob;
mod error;
pub mod layer;
pub mod layout;
pub mod manifest;
pub mod product;
pub mod push;
pub mod sbom;
pub mod tree;

pub use error::{Error, Result};
