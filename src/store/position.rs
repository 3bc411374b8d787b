//! The positions of a delivery in the shards of a stream, which outlive a run. A finished run replaces them as a
//! whole; any other run leaves them as they were.

use std::{collections::BTreeMap, io, path::Path};

use serde::{Deserialize, Serialize};

use super::files;
use crate::base::{fault::Fault, window::Cursor};

const NAME: &str = "positions.json";
/// Version of the format, increased when the files of older versions can't be read anymore.
const VERSION: u32 = 1;

/// Position up to which a shard was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// The shard was read up to this position.
    After(Cursor),
    /// The shard was read to its end: no record will ever follow.
    Closed,
}

/// The positions in the shards of a stream, by the id of the shard.
pub type Positions = BTreeMap<String, Position>;

/// A shard, and the position at which a run begins in it or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardPosition {
    pub id: String,
    pub parents: Vec<String>,
    /// `None`: the beginning of the shard.
    pub position: Option<Position>,
}

/// The positions of a delivery, as they are on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredPositions {
    version: u32,
    /// Name of the entry whose run has stored them.
    pub entry: String,
    pub shards: Positions,
}

impl StoredPositions {
    /// Returns the positions to store for a run of `entry`.
    pub fn new(entry: &str, shards: Positions) -> Self {
        StoredPositions { version: VERSION, entry: entry.to_owned(), shards }
    }
}

/// Returns the positions of a delivery; `None` if no run has stored any.
///
/// # Errors
///
/// The file can't be read or understood. It is not discarded, since a run would then deliver the whole stream
/// again.
pub async fn load(folder: &Path) -> Result<Option<StoredPositions>, Fault> {
    let path = folder.join(NAME);
    let Some(bytes) = files::blocking(&path, files::read).await? else { return Ok(None) };
    let stored = serde_json::from_slice::<StoredPositions>(&bytes).ok();
    match stored.filter(|stored| stored.version == VERSION) {
        Some(stored) => Ok(Some(stored)),
        None => {
            let hint = "set `latest_timestamp` to null to read the stream from its beginning";
            Err(Fault::list(format!("`{}` contains no positions", path.display())).hint(hint))
        }
    }
}

/// Replaces the positions of a delivery; `entry` is the name of the entry whose run has reached them.
///
/// # Errors
///
/// The file could not be written.
pub async fn save(folder: &Path, entry: &str, shards: Positions) -> Result<(), Fault> {
    let stored = StoredPositions::new(entry, shards);
    let write = move |path: &Path| {
        let bytes = serde_json::to_vec_pretty(&stored).map_err(io::Error::other)?;
        files::replace(path, &bytes).map(|_| ())
    };
    files::blocking(&folder.join(NAME), write).await
}

/// Returns the positions after a run that began at `known` and has read the `listed` shards. A shard that is no
/// longer listed keeps its position, since a listing may be incomplete: a closed shard that is listed again must
/// not be read from its beginning.
pub fn after_run(mut known: Positions, listed: Vec<ShardPosition>) -> Positions {
    for ShardPosition { id, position, .. } in listed {
        match position {
            Some(position) => known.insert(id, position),
            None => known.remove(&id),
        };
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(text: &str) -> Position {
        Position::After(Cursor(text.to_owned()))
    }

    fn positions(of: &[(&str, Position)]) -> Positions {
        of.iter().map(|(id, position)| ((*id).to_owned(), position.clone())).collect()
    }

    #[tokio::test]
    async fn positions_are_stored_as_they_are_and_a_file_of_another_kind_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).await.unwrap(), None);
        let stored = positions(&[("a", after("\"7\"")), ("b", Position::Closed)]);
        save(folder.path(), "e", stored.clone()).await.unwrap();
        let found = load(folder.path()).await.unwrap().unwrap();
        assert_eq!((found.entry.as_str(), found.shards), ("e", stored));
        let text = std::fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(text.contains(r#""b": "closed""#) && text.contains(r#""after": "#), "{text}");
        for text in ["", "{}", r#"{"version": 2, "shards": {}}"#] {
            files::replace(&folder.path().join(NAME), text.as_bytes()).unwrap();
            let fault = load(folder.path()).await.unwrap_err().to_string();
            assert!(
                fault.contains("positions.json") && fault.contains("`latest_timestamp` to null"),
                "{fault}"
            );
        }
    }

    #[test]
    fn a_shard_that_is_no_longer_listed_keeps_its_position() {
        let shard = |id: &str, position| ShardPosition { id: id.into(), parents: vec![], position };
        let known = positions(&[
            ("gone", Position::Closed),
            ("hidden", after("3")),
            ("closed", Position::Closed),
            ("read", after("1")),
        ]);
        let listed = vec![
            shard("closed", Some(Position::Closed)),
            shard("read", Some(after("2"))),
            shard("new", Some(after("0"))),
            shard("postponed", None),
        ];
        let expected = positions(&[
            ("gone", Position::Closed),
            ("hidden", after("3")),
            ("closed", Position::Closed),
            ("read", after("2")),
            ("new", after("0")),
        ]);
        assert_eq!(after_run(known, listed), expected);
    }
}
