//! Plans the pages of a listing: by offset, while the list changes; by cursor; or by shard, in a stream. Pure.

pub mod cursor;
pub mod listing;
pub mod offset;
pub mod second;
pub mod shards;
