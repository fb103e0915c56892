//! What the machine does with each word, step and silence.
