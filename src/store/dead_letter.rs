//! Dead letters: records that could not be delivered, in one file per list, for people to examine. The file
//! contains personal data, so only its owner may read it.

use std::{
    collections::{HashMap, HashSet},
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::files;
use crate::base::{fault::Fault, key::key_digest};

/// One rejected record, as a line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The record's key at its source.
    pub key: String,
    /// The entry of the list that tried to deliver the record.
    #[serde(default)]
    pub entry: String,
    pub reason: String,
    /// Id by which the sink's support finds the request.
    pub request_id: Option<String>,
    /// Time of the rejection by the source's clock, in ISO 8601.
    pub time: String,
    /// Time of the last change of this version of the record.
    #[serde(default)]
    pub changed: Option<DateTime<Utc>>,
    /// Whether the payload would have withdrawn somebody's consent.
    #[serde(default)]
    pub opts_out: bool,
    /// Whether the payload is the deletion of a record that is gone at the source.
    #[serde(default)]
    pub deleted: bool,
    /// The payload that the sink refused or would refuse; `None` if the record could not be mapped.
    pub payload: Option<Box<RawValue>>,
}

/// Adds dead letters; on disk when this returns.
///
/// # Errors
///
/// The file could not be written.
pub async fn append(path: &Path, letters: Vec<DeadLetter>) -> Result<(), Fault> {
    let work = move |path: &Path| {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut text = Vec::new();
        for letter in &letters {
            serde_json::to_writer(&mut text, letter)?;
            text.push(b'\n');
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        file.write_all(&text)?;
        file.sync_data()
    };
    files::blocking(path, work).await
}

/// Keeps only the latest dead letter of each record and entry, and removes those of this entry whose records
/// are `settled`.
///
/// # Errors
///
/// The file could not be read or written.
pub async fn tidy(path: &Path, entry: &str, settled: HashSet<u128>) -> Result<(), Fault> {
    let entry = entry.to_owned();
    let work = move |path: &Path| {
        let Some(bytes) = files::read(path)? else { return Ok(()) };
        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let key = |line: &[u8]| {
            serde_json::from_slice::<DeadLetter>(line).ok().map(|letter| (letter.entry, letter.key))
        };
        let keys: Vec<Option<(String, String)>> = lines.iter().map(|line| key(line)).collect();
        let mut last = HashMap::new();
        keys.iter().enumerate().for_each(|(index, key)| {
            last.insert(key, index);
        });
        // Lines that can't be understood stay: something else wrote them.
        let stays = |index: usize| match &keys[index] {
            Some((of, key)) => {
                last[&keys[index]] == index && !(*of == entry && settled.contains(&key_digest(key)))
            }
            None => true,
        };
        let kept: Vec<&[u8]> =
            (0..lines.len()).filter(|index| stays(*index)).map(|index| lines[index]).collect();
        match kept.len() {
            all if all == lines.len() => Ok(()),
            0 => files::remove(path).map(|_| ()),
            _ => files::replace(path, &kept.concat()).map(|_| ()),
        }
    };
    files::blocking(path, work).await
}

/// Copies the dead letters of entries that no longer exist to each of the current entries.
///
/// # Errors
///
/// The file could not be read or written.
pub async fn adopt(path: &Path, entries: &[String]) -> Result<(), Fault> {
    let (letters, _) = read(path).await?;
    for orphan in letters.into_iter().filter(|letter| !entries.contains(&letter.entry)) {
        let of_each = entries.iter().map(|entry| DeadLetter { entry: entry.clone(), ..orphan.clone() });
        append(path, of_each.collect()).await?;
        tidy(path, &orphan.entry, HashSet::from([key_digest(&orphan.key)])).await?;
    }
    Ok(())
}

/// Returns the number of dead letters in a file, without reading each of them.
///
/// # Errors
///
/// The file could not be read.
pub async fn count(path: &Path) -> Result<u64, Fault> {
    let lines = |path: &Path| {
        let bytes = files::read(path)?.unwrap_or_default();
        Ok(bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64)
    };
    files::blocking(path, lines).await
}

/// Returns all dead letters of a list, and the number of lines that are none. Returns nothing if there is no
/// file.
///
/// # Errors
///
/// The file could not be read.
pub async fn read(path: &Path) -> Result<(Vec<DeadLetter>, usize), Fault> {
    let work = |path: &Path| -> io::Result<(Vec<DeadLetter>, usize)> {
        let bytes = files::read(path)?.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read = lines.map(|line| serde_json::from_slice(line).ok()).collect::<Vec<_>>();
        let unreadable = read.iter().filter(|letter| letter.is_none()).count();
        Ok((read.into_iter().flatten().collect(), unreadable))
    };
    files::blocking(path, work).await
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn letter(key: &str, reason: &str) -> DeadLetter {
        let (key, reason, time) = (key.to_owned(), reason.to_owned(), "2026-11-21T12:00:00Z".to_owned());
        let entry = "e".to_owned();
        DeadLetter {
            key,
            entry,
            reason,
            request_id: None,
            time,
            changed: None,
            opts_out: false,
            deleted: false,
            payload: None,
        }
    }

    #[tokio::test]
    async fn dead_letters_are_readable_by_their_owner_only_until_the_record_is_delivered() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dead-letter").join("a.ndjson");
        append(&path, vec![letter("a", "no_id"), letter("b", "no_id")]).await.unwrap();
        append(&path, vec![letter("a", "refused"), letter("c", "refused")]).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        tidy(&path, "e", HashSet::from([key_digest("c"), key_digest("d")])).await.unwrap();
        tidy(&path, "another", HashSet::from([key_digest("a"), key_digest("b")])).await.unwrap();
        let left: Vec<_> =
            read(&path).await.unwrap().0.into_iter().map(|letter| (letter.key, letter.reason)).collect();
        assert_eq!(left, [("b".into(), "no_id".into()), ("a".into(), "refused".into())]);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        tidy(&path, "e", HashSet::from([key_digest("a"), key_digest("b")])).await.unwrap();
        assert!(!path.exists());
    }
}
