//! How the pages of a listing are read: by offset over a list that changes meanwhile, or by cursor. Pure.

pub mod cursor;
pub mod listing;
pub mod offset;
