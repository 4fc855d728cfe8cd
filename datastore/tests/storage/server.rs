//! A small web server: `GET`, `PUT`, `DELETE` and `PROPFIND` over a map, or what of a bucket is needed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::bucket::Bucket;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub(crate) struct WebServer {
    address: SocketAddr,
    site: Arc<Site>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Site {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    only_get: AtomicBool,
    bucket: Option<Bucket>,
}

impl WebServer {
    /// An empty one.
    pub(crate) async fn start() -> Self {
        Self::serving(Site::default()).await
    }

    /// One with an empty bucket.
    pub(crate) async fn with_bucket() -> Self {
        Self::serving(Site { bucket: Some(Bucket::default()), ..Site::default() }).await
    }

    async fn serving(site: Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let site = Arc::new(site);
        let serving = site.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(serving.clone(), stream));
            }
        });
        Self { address, site, task }
    }

    pub(crate) fn address(&self, prefix: &str) -> String {
        format!("http://{}/{prefix}", self.address)
    }

    /// Parts that the bucket got.
    pub(crate) fn bucket_parts(&self) -> usize {
        self.site.bucket.as_ref().map_or(0, Bucket::parts)
    }

    /// From now on every other method is refused.
    pub(crate) fn only_get(&self) {
        self.site.only_get.store(true, Ordering::Relaxed);
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(site: Arc<Site>, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (words.next().expect("a method"), words.next().expect("a path"));
        let mut length = 0;
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await?;
            let Some((key, value)) = header.trim().split_once(':') else { break };
            if key.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let (status, answer) = site.answer(&method, &path, body);
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\netag: \"1\"\r\n\r\n", answer.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}

impl Site {
    fn answer(&self, method: &str, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        if let Some(bucket) = &self.bucket {
            return bucket.answer(method, path, body);
        }
        let mut files = self.files.lock().expect("no test panics here");
        if method != "GET" && self.only_get.load(Ordering::Relaxed) {
            return (403, Vec::new());
        }
        match method {
            "GET" => files.get(path).map_or((404, Vec::new()), |file| (200, file.clone())),
            "PUT" => {
                files.insert(path.to_owned(), body);
                (201, Vec::new())
            }
            "DELETE" => files.remove(path).map_or((404, Vec::new()), |_| (204, Vec::new())),
            "PROPFIND" => listing(&files, path).map_or((404, Vec::new()), |listing| (207, listing.into_bytes())),
            _ => (405, Vec::new()),
        }
    }
}

/// What is below a path; nothing if nothing is.
fn listing(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Option<String> {
    let below = format!("{}/", path.trim_end_matches('/'));
    files.keys().find(|name| name.starts_with(&below))?;
    let mut text = String::from("<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">");
    for (name, file) in files.iter().filter(|(name, _)| name.starts_with(&below)) {
        write!(
            text,
            "<D:response><D:href>{name}</D:href><D:propstat><D:prop><D:getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</D:getlastmodified>\
             <D:getcontentlength>{}</D:getcontentlength><D:resourcetype/></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>",
            file.len()
        )
        .expect("writing to a string");
    }
    Some(text + "</D:multistatus>")
}
