//! The service process of the bench, and the way to command it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};
use serde::Deserialize;

/// How the service responds in a measurement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conditions {
    pub read_ms: u64,
    pub push_ms: u64,
    /// Pushes per second; 0 is no limit.
    pub rate: u64,
}

/// What the service has counted in a measurement.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// Time of the first request, in microseconds since 1970.
    pub first_us: Option<u64>,
    pub reads: u64,
    pub pushes: u64,
    pub refused: u64,
    pub records: u64,
    /// Contacts with different ids; only of a checked measurement.
    pub distinct: Option<u64>,
}

pub struct Service {
    child: Child,
    address: String,
}

impl Service {
    /// Starts a service with a list of this size, whose last `changed` members changed an hour ago.
    pub fn start(program: &Path, members: u64, changed: u64) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args([members.to_string(), changed.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().context("could not start the service")?;
        let output = child.stdout.take().context("the service has no output")?;
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        if address.trim().is_empty() {
            bail!("the service did not start");
        }
        Ok(Service { child, address: address.trim().to_owned() })
    }

    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Begins a measurement.
    pub fn reset(&self, conditions: Conditions) -> anyhow::Result<()> {
        self.begin(conditions, "")
    }

    /// Begins a measurement in which the service examines each push and keeps the requests.
    pub fn check(&self, conditions: Conditions) -> anyhow::Result<()> {
        self.begin(conditions, "&check=1")
    }

    fn begin(&self, conditions: Conditions, more: &str) -> anyhow::Result<()> {
        let Conditions { read_ms, push_ms, rate } = conditions;
        self.get(&format!("/bench/reset?read_ms={read_ms}&push_ms={push_ms}&rate={rate}{more}")).map(|_| ())
    }

    /// Makes the records of the REST API. Each edition has the same records with other values.
    pub fn make_items(&self, records: u64, edition: u64) -> anyhow::Result<()> {
        self.get(&format!("/bench/items?records={records}&edition={edition}")).map(|_| ())
    }

    /// Returns the CPU time that the service has used, in seconds. It responds on one thread.
    pub fn cpu(&self) -> anyhow::Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/schedstat", self.child.id()))?;
        let running = text.split(' ').next().context("the service's time")?;
        Ok(running.parse::<f64>()? / 1e9)
    }

    pub fn report(&self) -> anyhow::Result<Report> {
        Ok(serde_json::from_str(&self.get("/bench/report")?)?)
    }

    /// Returns the requests of a checked measurement, one a line.
    pub fn trace(&self) -> anyhow::Result<String> {
        self.get("/bench/trace")
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(&self.address).context("the service does not respond")?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the service's response is incomplete")?;
        if !head.starts_with("HTTP/1.1 200") {
            bail!("the service refused {path}");
        }
        Ok(body.to_owned())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
