//! What the services observed, for tests.

use std::collections::VecDeque;

use http::{Method, StatusCode};
use serde_json::Value;

use super::{Service, Trouble};
use crate::net::{Request, Response};

/// What the services observed.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// Path and query of the latest requests to Mailchimp.
    pub reads: VecDeque<String>,
    /// Path and query of the latest requests to When I Work.
    pub shifts: VecDeque<String>,
    /// Path and query of the latest requests to the REST APIs.
    pub calls: VecDeque<String>,
    /// Number of records in each of the latest pushes to Ometria.
    pub pushes: VecDeque<usize>,
    /// Number of records in each of the latest batches at the receiver.
    pub batches: VecDeque<usize>,
    /// Number of requests for Ometria's deferred errors.
    pub looks: usize,
    /// Highest number of simultaneous requests to Mailchimp.
    pub peak: usize,
    /// Number of responses with status 429.
    pub throttled: usize,
    /// The latest troubles that affected a request.
    pub troubles: VecDeque<(Service, Trouble)>,
}

/// Number of requests that [`Seen`] keeps.
const REMEMBERED: usize = 10_000;

fn remember<T>(latest: &mut VecDeque<T>, item: T) {
    latest.push_back(item);
    if latest.len() > REMEMBERED {
        latest.pop_front();
    }
}

impl Seen {
    /// Records a request. `open` is the number of simultaneous requests to the service.
    pub(super) fn note(
        &mut self,
        service: Service,
        request: &Request,
        open: usize,
        response: &Response,
        trouble: Option<&Trouble>,
    ) {
        self.peak = self.peak.max(open);
        self.throttled += usize::from(response.status() == StatusCode::TOO_MANY_REQUESTS);
        match service {
            Service::Mailchimp => remember(&mut self.reads, request.uri().to_string()),
            Service::WhenIWork => remember(&mut self.shifts, request.uri().to_string()),
            Service::Rest => remember(&mut self.calls, request.uri().to_string()),
            Service::Ometria if request.method() == Method::GET => self.looks += 1,
            Service::Ometria => {
                let batch = serde_json::from_slice::<Vec<Value>>(request.body());
                remember(&mut self.pushes, batch.map_or(0, |batch| batch.len()));
            }
            Service::Receiver => {
                let batch = serde_json::from_slice::<Vec<Value>>(request.body());
                remember(&mut self.batches, batch.map_or(1, |batch| batch.len()));
            }
        }
        if let Some(trouble) = trouble {
            remember(&mut self.troubles, (service, trouble.clone()));
        }
    }
}
