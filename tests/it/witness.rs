//! Records the requests of the program in a world, and how each of its runs ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use futures::future::BoxFuture;
use http::Method;
use importer::{
    base::fault::Fault,
    controller::Verdict,
    net::{Request, Response, Transport, TransportError},
};
use serde_json::Value;

/// Counts the requests that pass.
#[derive(Default)]
pub struct Witness {
    seen: Mutex<BTreeMap<String, u64>>,
}

impl Witness {
    /// Returns a transport that counts each request and passes it on to `transport`.
    pub fn before(self: &Arc<Self>, transport: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(Seen { witness: Arc::clone(self), transport })
    }

    /// Returns the requests so far, each with its number of occurrences.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.seen.lock().unwrap().clone()
    }
}

struct Seen {
    witness: Arc<Witness>,
    transport: Arc<dyn Transport>,
}

impl Transport for Seen {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        *self.witness.seen.lock().unwrap().entry(described(&request)).or_default() += 1;
        self.transport.send(request)
    }
}

/// Method, path and query; for a body that is a list, the number of its records.
fn described(request: &Request) -> String {
    let place = request.uri().path_and_query().map_or("", |place| place.as_str());
    let records = match *request.method() {
        Method::GET => None,
        _ => serde_json::from_slice::<Vec<Value>>(request.body()).ok(),
    };
    let records = records.map_or(String::new(), |records| format!(" {} records", records.len()));
    format!("{} {place}{records}", request.method())
}

/// How the runs of a program have ended.
#[derive(Default)]
pub struct Runs {
    ended: Mutex<Vec<String>>,
}

impl Runs {
    /// Notes how `run` ends: with a verdict, with a fault, or cut off.
    pub async fn noted(
        &self,
        mode: &'static str,
        run: impl Future<Output = Result<Verdict, Fault>>,
    ) -> Result<Verdict, Fault> {
        let mut end = End { runs: self, mode, how: "cut off" };
        let ended = run.await;
        end.how = match &ended {
            Ok(Verdict::Done) => "done",
            Ok(Verdict::Failed) => "failed",
            Err(_) => "fault",
        };
        ended
    }

    pub fn ended(&self) -> Vec<String> {
        self.ended.lock().unwrap().clone()
    }
}

/// Records the end of a run when it is dropped, so that a run that was cut off counts too.
struct End<'a> {
    runs: &'a Runs,
    mode: &'static str,
    how: &'static str,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.runs.ended.lock().unwrap().push(format!("{}: {}", self.mode, self.how));
    }
}
