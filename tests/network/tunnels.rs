//! Networks of their own within this machine: nodes behind address translation, and one segment between them. Nothing of it is seen
//! outside, and all of it ends with its guard.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// Address of the segment's first host, where the broker is.
pub(crate) const PUBLIC: &str = "10.77.0.1";

/// So that several in one process have different names.
static MADE: AtomicU32 = AtomicU32::new(0);

/// One public segment and, behind a translating router each, private networks that all have the same addresses.
pub(crate) struct Tunnels {
    name: String,
    namespaces: Vec<String>,
}

impl Tunnels {
    /// Makes the segment and `nodes` private networks.
    ///
    /// # Errors
    /// What this machine does not allow, in words. Nothing is left.
    pub(crate) fn make(nodes: usize) -> Result<Self, String> {
        let name = format!("tidings-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let mut tunnels = Self { name, namespaces: Vec::new() };
        tunnels.segment()?;
        (0..nodes).try_for_each(|node| tunnels.private(node))?;
        Ok(tunnels)
    }

    /// Namespace of the public segment.
    pub(crate) fn public(&self) -> String {
        format!("{}-public", self.name)
    }

    /// Namespace of a node.
    pub(crate) fn node(&self, node: usize) -> String {
        format!("{}-node-{node}", self.name)
    }

    fn router(&self, node: usize) -> String {
        format!("{}-router-{node}", self.name)
    }

    /// A command, but in a namespace.
    pub(crate) fn inside(namespace: &str, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// How long a router keeps a mapping that is not used, seconds.
    pub(crate) fn keep_mappings_for(&self, node: usize, seconds: u32) -> Result<(), String> {
        for name in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
            self.set(node, &format!("netfilter/{name}"), seconds)?;
        }
        Ok(())
    }

    /// A router forgets all mappings: its address goes away for a moment. New mappings get other ports.
    pub(crate) fn forget_mappings(&self, node: usize) -> Result<(), String> {
        let router = self.router(node);
        ip(&["-n", &router, "link", "set", "public", "down"])?;
        ip(&["-n", &router, "link", "set", "public", "up"])
    }

    fn segment(&mut self) -> Result<(), String> {
        let public = self.public();
        self.namespace(&public)?;
        ip(&["-n", &public, "link", "add", "segment", "type", "bridge"])?;
        up(&public, "segment", Some(&format!("{PUBLIC}/24")))
    }

    fn private(&mut self, node: usize) -> Result<(), String> {
        let (public, router, inner) = (self.public(), self.router(node), self.node(node));
        self.namespace(&router)?;
        self.namespace(&inner)?;
        let port = format!("port-{node}");
        ip(&["-n", &public, "link", "add", &port, "type", "veth", "peer", "name", "public", "netns", &router])?;
        ip(&["-n", &public, "link", "set", &port, "master", "segment"])?;
        up(&public, &port, None)?;
        up(&router, "public", Some(&format!("10.77.0.{}/24", 10 + node)))?;
        ip(&["-n", &inner, "link", "add", "private", "type", "veth", "peer", "name", "private", "netns", &router])?;
        up(&router, "private", Some("192.168.1.1/24"))?;
        up(&inner, "private", Some("192.168.1.2/24"))?;
        ip(&["-n", &inner, "route", "add", "default", "via", "192.168.1.1"])?;
        self.set(node, "ipv4/ip_forward", 1)?;
        self.translate(&router)
    }

    fn translate(&self, router: &str) -> Result<(), String> {
        let rules = [
            "add table ip translation",
            "add chain ip translation out { type nat hook postrouting priority 100; }",
            "add rule ip translation out oifname \"public\" masquerade fully-random",
        ];
        let rules = rules.join("\n") + "\n";
        feed(Command::new("ip").args(["netns", "exec", router, "nft", "-f", "-"]), &rules)
    }

    fn set(&self, node: usize, name: &str, value: u32) -> Result<(), String> {
        let script = format!("echo {value} > /proc/sys/net/{name}");
        feed(Command::new("ip").args(["netns", "exec", &self.router(node), "sh", "-c", &script]), "")
    }

    fn namespace(&mut self, name: &str) -> Result<(), String> {
        ip(&["netns", "add", name])?;
        self.namespaces.push(name.to_owned());
        up(name, "lo", None)
    }
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        for name in &self.namespaces {
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn up(namespace: &str, device: &str, address: Option<&str>) -> Result<(), String> {
    if let Some(address) = address {
        ip(&["-n", namespace, "address", "add", address, "dev", device])?;
    }
    ip(&["-n", namespace, "link", "set", device, "up"])
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    feed(Command::new("ip").args(arguments), "")
}

fn feed(command: &mut Command, input: &str) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("{command:?}: {error}", command = command.get_args().collect::<Vec<_>>());
    let spawned = Command::new(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| failed(&error))?;
    // One that reads nothing has ended, and says why.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(&String::from_utf8_lossy(&output.stderr).trim())),
    }
}
