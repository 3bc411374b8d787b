//! Tests of the saver.
