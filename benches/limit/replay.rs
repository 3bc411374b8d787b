//! Repeats the requests of a trace. A push waits until as large a share of the reads is done as its own place among the
//! pushes, since an importer can't push what it has not read.

use std::{fs, iter::repeat_n};

use futures::{TryStreamExt, stream};
use tokio::sync::Semaphore;

use super::{AT_ONCE, Failure, Service};

/// A record has this many `@`, by which the service counts records.
const MARKS: usize = 4;

pub async fn run(service: Service, trace: &str) -> Result<(), Failure> {
    let trace = fs::read_to_string(trace)?;
    let reads: Vec<&str> = trace.lines().filter_map(|line| line.strip_prefix("GET ")).collect();
    let pushes: Vec<(usize, usize)> = trace.lines().filter_map(push).collect();
    // Permits to push, which the reads release.
    let readable = Semaphore::new(if reads.is_empty() { pushes.len() } else { 0 });
    let share = |done: usize| done * pushes.len() / reads.len();
    let all_reads =
        stream::iter(reads.iter().enumerate().map(Ok)).try_for_each_concurrent(AT_ONCE, |(index, path)| {
            let (service, readable, permits) = (&service, &readable, share(index + 1) - share(index));
            async move {
                service.get(path, |_| {}).await?;
                readable.add_permits(permits);
                Ok::<(), Failure>(())
            }
        });
    let all_pushes =
        stream::iter(pushes.iter().map(Ok)).try_for_each_concurrent(AT_ONCE, |(bytes, records)| {
            let (service, readable) = (&service, &readable);
            async move {
                readable.acquire().await?.forget();
                service.push(body(*bytes, *records)).await
            }
        });
    tokio::try_join!(all_reads, all_pushes)?;
    Ok(())
}

fn push(line: &str) -> Option<(usize, usize)> {
    let (bytes, records) = line.strip_prefix("POST ")?.split_once(' ')?;
    Some((bytes.parse().ok()?, records.parse().ok()?))
}

/// Makes a body of this size that counts as this many records.
fn body(bytes: usize, records: usize) -> Vec<u8> {
    let marks = records * MARKS;
    repeat_n(b'@', marks).chain(repeat_n(b' ', bytes.saturating_sub(marks))).collect()
}
