//! The API as its callers see it: a whole control plane in this process, real TLS, a real store, executors with real
//! certificates. Each test has a control plane of its own.

mod access;
mod again;
mod attacks;
mod catalog;
mod executors;
mod explain;
mod feed;
mod http;
mod json;
mod names;
mod once;
mod organizations;
mod pages_catalog;
mod pages_releases;
mod requests;
mod smaller;
mod support;
mod targets;
mod upload;
mod visitor;
mod warnings;
