//! Reads the pages of a listing: by offset, over a list that changes in the meantime, or by cursor, or a
//! stream shard by shard. Pure.

pub mod cursor;
pub mod listing;
pub mod offset;
pub mod shards;
