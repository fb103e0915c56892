//! Findings, as a table.
