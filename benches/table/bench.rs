//! What the rows share: the programs, the service, and the comparisons that are already made.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    rc::Rc,
};

use anyhow::ensure;

use super::{
    machine,
    process::{self, Usage},
    programs::{self, Programs},
    service::{Conditions, Report, Service},
    sides::{Case, Sides},
    state::State,
};

pub struct Bench {
    pub programs: Programs,
    /// Runs of each case.
    pub runs: usize,
    /// Where everything is written, on the disk of the build.
    pub folder: PathBuf,
    pub sides: BTreeMap<Case, Sides>,
    /// Lines of the table that compares the sink `sql` with a bare loop.
    pub databases: Vec<String>,
    /// Load averages at the beginning.
    pub load: String,
    /// The running service, with its sizes.
    service: Option<((u64, u64), Rc<Service>)>,
}

impl Bench {
    pub fn new(folder: PathBuf, runs: usize) -> anyhow::Result<Self> {
        let programs = programs::build(&folder)?;
        let load = machine::load();
        Ok(Bench { programs, runs, folder, sides: BTreeMap::new(), databases: vec![], load, service: None })
    }

    /// Returns the service with a list of this size. One runs at a time.
    pub fn service(&mut self, members: u64, changed: u64) -> anyhow::Result<Rc<Service>> {
        if let Some((sizes, running)) = &self.service
            && *sizes == (members, changed)
        {
            return Ok(Rc::clone(running));
        }
        self.service = None;
        let started = Rc::new(Service::start(&self.programs.service, members, changed)?);
        self.service = Some(((members, changed), Rc::clone(&started)));
        Ok(started)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs importer once in a folder, from the part of a second at which a full load does not wait.
    pub fn load(&self, state: &State, service: &Service, conditions: Conditions) -> anyhow::Result<Usage> {
        self.load_with(&self.programs.importer, state, service, conditions)
    }

    /// Like [`Bench::load`], with another build of importer.
    pub fn load_with(
        &self,
        program: &Path,
        state: &State,
        service: &Service,
        conditions: Conditions,
    ) -> anyhow::Result<Usage> {
        service.reset(conditions)?;
        process::wait_for_start();
        process::run(&state.run_once(program, service, "0"), &self.path("importer.log"))
    }

    /// Runs importer once with a service that examines what arrives, and formats what the measured runs will request.
    pub fn rehearse(&self, program: &Path, state: &State, service: &Service) -> anyhow::Result<Report> {
        service.check(Conditions::default())?;
        process::run(&state.run_once(program, service, "0"), &self.path("importer.log"))?;
        let report = service.report()?;
        ensure!(report.refused == 0 && report.reads > 0, "importer did not read the list: {report:?}");
        Ok(report)
    }
}
