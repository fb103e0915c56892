//! The whole server in this process, over real TLS on free ports: who gets in, who does not, and what abuse costs.

mod client;

mod cluster;

mod harness;

mod api;

mod artifact;

mod enrolment;

mod gate;

mod abuse;
