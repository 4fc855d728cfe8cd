//! Redis Streams: the server, and its Rust client as its users would use it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::{StreamExt, TryStreamExt, stream};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, TlsCertificates, Value};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::load::{Load, Publishing, payload, together};
use crate::server::{Server, free_port, poll};
use crate::tls::Tls;

const STARTS_WITHIN: Duration = Duration::from_secs(180);
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);
/// Pipelines that are sent without waiting for the one before: while one is worked on, the next one is on its way.
const PIPELINES: usize = 2;

/// When the append-only file is synced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Sync {
    /// Before the answer.
    Always,
    /// Once a second, after the answer.
    EverySecond,
}

/// A running server.
pub(crate) struct Redis {
    /// Its process.
    pub(crate) server: Server,
    client: Client,
}

impl Redis {
    /// Starts one in an empty folder.
    pub(crate) async fn start(tls: &Tls, sync: Sync) -> Result<Self> {
        Self::start_in(Server::folder()?, tls, sync).await
    }

    /// Starts one with the data of a folder, and waits until it has loaded it.
    pub(crate) async fn start_in(folder: TempDir, tls: &Tls, sync: Sync) -> Result<Self> {
        let port = free_port()?;
        let server = Server::start(Path::new("redis-server"), &arguments(folder.path(), tls, port, sync), folder)?;
        let certificates = TlsCertificates { client_tls: None, root_cert: Some(tls.authority_pem.clone().into_bytes()) };
        let client = Client::build_with_tls(format!("rediss://127.0.0.1:{port}"), certificates)?;
        let redis = Self { server, client };
        let up = poll(STARTS_WITHIN, async || redis.ping().await.ok()).await;
        up.map_err(|error| anyhow!("{error}: {}", redis.server.last_words()))?;
        Ok(redis)
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(ANSWERS_WITHIN)).set_response_timeout(Some(ANSWERS_WITHIN));
        Ok(self.client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Publishes from `owners` connections at once, each to its own stream, and waits for every answer.
    pub(crate) async fn publish(&self, owners: usize, publishing: Publishing) -> Result<Load> {
        let mut tasks = JoinSet::new();
        for owner in 0..owners {
            let connection = self.connect().await?;
            tasks.spawn(async move { publish(connection, owner, publishing, add).await });
        }
        together(tasks).await
    }

    /// Publishes to one stream and keeps the newest value of each record in a hash beside it, both in one transaction.
    pub(crate) async fn publish_beside_a_hash(&self, publishing: Publishing) -> Result<Load> {
        publish(self.connect().await?, 0, publishing, add_and_set).await
    }

    /// Reads so many messages of an owner's stream, `at_once` with each call; gives their bytes.
    pub(crate) async fn read(&self, at_once: u64, count: u64) -> Result<u64> {
        let mut connection = self.connect().await?;
        let (mut last, mut read, mut bytes) = ("0".to_owned(), 0, 0);
        while read < count {
            let mut call = redis::cmd("XREAD");
            call.arg("COUNT").arg(at_once).arg("STREAMS").arg(key(0)).arg(&last);
            let entries = entries(call.query_async(&mut connection).await?)?;
            let Some((id, _)) = entries.last() else { bail!("the stream ended after {read} of {count}") };
            last.clone_from(id);
            read += entries.len() as u64;
            bytes += entries.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
        }
        Ok(bytes)
    }

    /// Reads the hash and the place in the stream to go on from; gives how many records there are.
    pub(crate) async fn read_hash(&self) -> Result<u64> {
        let mut connection = self.connect().await?;
        let mut both = redis::pipe();
        both.atomic().cmd("HGETALL").arg(HASH).cmd("XREVRANGE").arg(key(0)).arg("+").arg("-").arg("COUNT").arg(1);
        let (fields, _newest): (Vec<Value>, Value) = both.query_async(&mut connection).await?;
        Ok(fields.len() as u64 / 2)
    }

    async fn ping(&self) -> Result<()> {
        Ok(redis::cmd("PING").exec_async(&mut self.connect().await?).await?)
    }
}

const HASH: &str = "now";

/// Name of an owner's stream.
pub(crate) fn key(owner: usize) -> String {
    format!("q{owner}")
}

/// Waits for what comes after `last`, at most `wait`; gives identifiers and values.
pub(crate) async fn wait(
    connection: &mut MultiplexedConnection,
    owner: usize,
    last: &str,
    wait: Duration,
) -> Result<Vec<(String, Vec<u8>)>> {
    let mut call = redis::cmd("XREAD");
    call.arg("BLOCK").arg(wait.as_millis() as u64).arg("STREAMS").arg(key(owner)).arg(last);
    entries(call.query_async(connection).await?)
}

/// Adds one message and waits for the answer.
pub(crate) async fn add_one(connection: &mut MultiplexedConnection, owner: usize, body: &[u8]) -> Result<()> {
    Ok(redis::cmd("XADD").arg(key(owner)).arg("*").arg("v").arg(body).exec_async(connection).await?)
}

/// How a message is put into a pipeline: to an owner, for a record, with a body.
type Add = fn(&mut Pipeline, usize, u64, &[u8]);

fn add(pipeline: &mut Pipeline, owner: usize, _record: u64, body: &[u8]) {
    pipeline.cmd("XADD").arg(key(owner)).arg("*").arg("v").arg(body).ignore();
}

fn add_and_set(pipeline: &mut Pipeline, owner: usize, record: u64, body: &[u8]) {
    pipeline.atomic();
    pipeline.cmd("HSET").arg(HASH).arg(record).arg(body).ignore();
    pipeline.cmd("XADD").arg(key(owner)).arg("*").arg("r").arg(record).arg("v").arg(body).ignore();
}

async fn publish(mut connection: MultiplexedConnection, owner: usize, publishing: Publishing, add: Add) -> Result<Load> {
    let body = payload(publishing.size, owner as u64);
    let mut load = Load::new();
    if publishing.in_flight <= 1 {
        while publishing.bound.allows(load.messages) {
            let started = Instant::now();
            add_one(&mut connection, owner, &body).await?;
            load.answered(started.elapsed());
        }
        return Ok(load);
    }
    let each = (publishing.in_flight / PIPELINES) as u64;
    let firsts = (0..).map(|batch| batch * each).take_while(|sent| publishing.bound.allows(*sent));
    let batches = stream::iter(firsts).map(|first| {
        let mut pipeline = Pipeline::with_capacity(each as usize);
        let size = each.min(publishing.bound.count - first);
        (first..first + size).for_each(|at| add(&mut pipeline, owner, at % publishing.records, &body));
        let mut connection = connection.clone();
        async move {
            let started = Instant::now();
            pipeline.exec_async(&mut connection).await?;
            anyhow::Ok((size, started.elapsed()))
        }
    });
    let mut answers = batches.buffered(PIPELINES);
    while let Some((size, took)) = answers.try_next().await? {
        (0..size).for_each(|_| load.answered(took));
    }
    Ok(load)
}

/// The last field of each entry of an XREAD of one stream; nothing for nil.
fn entries(reply: Value) -> Result<Vec<(String, Vec<u8>)>> {
    let Value::Array(streams) = reply else { return Ok(Vec::new()) };
    let Some(Value::Array(mut named)) = streams.into_iter().next() else { return Ok(Vec::new()) };
    let Some(Value::Array(entries)) = named.pop() else { bail!("no entries in the reply") };
    entries.into_iter().map(|entry| entry_of(entry).context("an entry of another form")).collect()
}

fn entry_of(entry: Value) -> Option<(String, Vec<u8>)> {
    let Value::Array(parts) = entry else { return None };
    let mut parts = parts.into_iter();
    let (Value::BulkString(id), Value::Array(mut fields)) = (parts.next()?, parts.next()?) else { return None };
    let Value::BulkString(value) = fields.pop()? else { return None };
    Some((String::from_utf8(id).ok()?, value))
}

/// No snapshots and no rewriting of the log during a run: that is the fastest that it can be with this durability.
fn arguments(folder: &Path, tls: &Tls, port: u16, sync: Sync) -> Vec<String> {
    let synced = if sync == Sync::Always { "always" } else { "everysec" };
    let (port, folder) = (port.to_string(), folder.to_string_lossy().into_owned());
    let files = [tls.authority(), tls.certificate(), tls.key()].map(|file| file.to_string_lossy().into_owned());
    let words = [
        ["--bind", "127.0.0.1"],
        ["--port", "0"],
        ["--tls-port", &port],
        ["--tls-ca-cert-file", &files[0]],
        ["--tls-cert-file", &files[1]],
        ["--tls-key-file", &files[2]],
        ["--tls-auth-clients", "no"],
        ["--dir", &folder],
        ["--save", ""],
        ["--appendonly", "yes"],
        ["--appendfsync", synced],
        ["--auto-aof-rewrite-percentage", "0"],
        ["--maxclients", "19900"],
        ["--tcp-backlog", "4096"],
        ["--daemonize", "no"],
        ["--logfile", "log"],
    ];
    words.into_iter().flatten().map(str::to_owned).collect()
}
