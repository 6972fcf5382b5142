//! PostgreSQL: prepared inserts, a select by key, and `LISTEN`/`NOTIFY` for what is live.
//!
//! It refuses to run as root, so then it runs as the user `postgres` or `nobody`. A cluster is made once for a run of this program, and its
//! table anew for every start.

use super::{Contender, Fan, Missing, Replay, Server, Sessions, chunk, message};
use crate::child::{Child, Listens, Place, free_port};
use crate::closed::Dialogue;
use crate::link::Link;
use crate::wire::{Step, excerpt, number_after, postgres};
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use std::cell::OnceCell;
use std::fs::{self, Permissions};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The cluster's superuser, and its database.
const NAME: &str = "postgres";
/// More than any work needs at once; each is a process of the server.
const CONNECTIONS_MAX: usize = 1_200;

/// How long it may take from listening to answering: after an unclean end it replays its log.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// PostgreSQL.
#[derive(Clone, Debug, Default)]
pub struct Postgres {
    cluster: Rc<OnceCell<Cluster>>,
}

#[derive(Debug)]
struct Cluster {
    folder: tempfile::TempDir,
    user: Option<(u32, u32)>,
}

struct Running {
    child: Child,
    /// The cluster outlives the server.
    _cluster: Rc<OnceCell<Cluster>>,
}

impl Contender for Postgres {
    fn name(&self) -> String {
        "postgresql".to_owned()
    }

    fn setting(&self) -> String {
        "fsync=on, synchronous_commit=on (defaults): acknowledged after the commit's fdatasync; prepared INSERT .. RETURNING, each its \
         own transaction"
            .to_owned()
    }

    fn missing(&self) -> Option<Missing> {
        let missing = Missing { program: "postgres", install: "apt-get install postgresql" };
        binaries().is_none().then_some(missing)
    }

    fn start(&self, place: &Place) -> Result<Box<dyn Server>> {
        let binaries = binaries().context("it is not installed")?;
        if self.cluster.get().is_none() {
            let made = Cluster::make(place, &binaries)?;
            self.cluster.set(made).expect("it was empty");
        }
        let cluster = self.cluster.get().context("it was just made")?;
        let port = free_port()?;
        let mut command = cluster.command(&binaries.join("postgres"));
        command.arg("-D").arg(cluster.data());
        let connections = format!("max_connections={CONNECTIONS_MAX}");
        let sockets = format!("unix_socket_directories={}", cluster.folder.path().display());
        for setting in ["listen_addresses=127.0.0.1", "fsync=on", "synchronous_commit=on", &connections, &sockets] {
            command.args(["-c", setting]);
        }
        command.args(["-p", &port.to_string()]);
        let child = Child::start(place, command, Listens::At(port), Signal::INT, place.folder("postgres-output")?)?;
        let running = Running { child, _cluster: Rc::clone(&self.cluster) };
        let mut link = running.first_link()?;
        link.ask(&postgres::query("DROP TABLE IF EXISTS message"))?;
        link.ask(&postgres::query(
            "CREATE TABLE message (session int NOT NULL, seq bigserial, body text NOT NULL, PRIMARY KEY (session, seq))",
        ))?;
        Ok(Box::new(running))
    }
}

impl Cluster {
    fn make(place: &Place, binaries: &Path) -> Result<Self> {
        let folder = place.folder("postgres")?;
        let user = unprivileged()?;
        if let Some((uid, gid)) = user {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
        let cluster = Self { folder, user };
        let mut command = cluster.command(&binaries.join("initdb"));
        command.args(["-A", "trust", "-U", NAME, "-E", "UTF8", "--locale=C", "-D"]).arg(cluster.data());
        let output = command.output().context("starting initdb")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "initdb: {} (its user must be able to reach {}): {said}",
            output.status,
            place.dir.display()
        );
        Ok(cluster)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/");
        command
    }
}

/// Where Debian keeps the newest version's programs, which are not in the search path.
pub(super) fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let bins =
        versions.filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path())));
    let bins = bins.map(|(version, path)| (version, path.join("bin")));
    bins.filter(|(_, bin)| bin.join("initdb").is_file()).max().map(|(_, bin)| bin)
}

/// Whom to run as when this program is root's.
fn unprivileged() -> Result<Option<(u32, u32)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let found = [NAME, "nobody"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut ids = line.split(':').skip(2).map(str::parse::<u32>);
        Some((ids.next()?.ok()?, ids.next()?.ok()?))
    });
    found.map(Some).context("neither postgres nor nobody is a user here")
}

impl Running {
    /// It listens before it answers queries.
    fn first_link(&self) -> Result<Link> {
        let deadline = Instant::now() + READY_TIMEOUT;
        loop {
            match self.link() {
                Err(error) if Instant::now() < deadline && error.to_string().contains("starting up") => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                other => return other,
            }
        }
    }

    /// A connection that is ready for queries.
    fn link(&self) -> Result<Link> {
        let mut link = Link::connect(self.child.address(), postgres::reply)?;
        link.ask(&postgres::startup(NAME, NAME))?;
        Ok(link)
    }

    fn prepared(&self, sql: &str) -> Result<TcpStream> {
        let mut link = self.link()?;
        link.ask(&postgres::prepare("p", sql))?;
        link.into_stream()
    }
}

impl Server for Running {
    fn child(&self) -> &Child {
        &self.child
    }

    fn appenders(&mut self, connections: usize, sessions: Sessions) -> Result<Dialogue> {
        let sql = "INSERT INTO message (session, body) VALUES ($1, $2) RETURNING seq";
        let streams = (0..connections).map(|_| self.prepared(sql)).collect::<Result<Vec<_>>>()?;
        let request = Box::new(move |place: usize, out: &mut Vec<u8>| {
            let session = sessions.of(place);
            postgres::execute("p", &[session.to_string().as_bytes(), &message()], out);
        });
        Ok(Dialogue { streams, request, codec: postgres::reply })
    }

    fn stored(&mut self) -> Result<Option<u64>> {
        let reply = self.link()?.ask(&postgres::query("SELECT 'count=' || count(*) FROM message"))?;
        Ok(Some(number_after(&reply, "count=").with_context(|| excerpt(&reply))?))
    }

    fn replay(&mut self, _messages: u64) -> Result<Replay> {
        let stream = self.prepared("SELECT seq, body FROM message WHERE session = $1 AND seq > $2 ORDER BY seq")?;
        let mut request = Vec::new();
        postgres::execute("p", &[b"0", b"0"], &mut request);
        let answer = |bytes: &[u8]| {
            let Step::Reply(length) = postgres::reply(bytes)? else { return Ok(None) };
            Ok(Some((length, postgres::rows(&bytes[..length])? as u64)))
        };
        Ok(Replay { stream, requests: vec![request], answer: Box::new(answer) })
    }

    fn fan(&mut self, readers: usize) -> Result<Fan> {
        let mut streams = Vec::with_capacity(readers);
        for _ in 0..readers {
            let mut link = self.link()?;
            link.ask(&postgres::query("LISTEN chunks"))?;
            streams.push(link.into_stream()?);
        }
        let publisher = self.prepared("SELECT pg_notify('chunks', $1)")?;
        let publish = |n, out: &mut Vec<u8>| postgres::execute("p", &[&chunk(n)], out);
        Ok(Fan {
            publisher,
            publish: Box::new(publish),
            codec: postgres::reply,
            readers: streams,
            chunks_max: u64::MAX,
        })
    }
}
