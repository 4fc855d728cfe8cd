//! Folders, names and files, as they are seen now and as a power cut would leave them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::Errno;

use super::chance::Chance;
use super::content::Content;

/// What a cut keeps of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Nothing.
    Nothing,
    /// Any part of it: torn, and later changes without earlier ones.
    Some,
    /// All of it, as if only the process had ended.
    Everything,
}

/// What makes a new name durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    /// Only a sync of its folder, as POSIX has it.
    WithTheirFolder,
    /// A sync of the file that it names too.
    WithTheirFile,
}

/// Number of the root.
pub(super) const ROOT: u64 = 1;
/// Numbers below are for what a listing says of itself.
const FIRST: u64 = 16;

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    nodes: BTreeMap<u64, Node>,
    next: u64,
    /// Changes of folders that are not durable, in their order.
    steps: Vec<Step>,
}

/// A file, folder or socket.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    /// Where it was last put.
    pub(super) path: String,
    pub(super) rights: u16,
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) changed: SystemTime,
    /// Names that it has now.
    pub(super) names: u32,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    File(Content),
    Folder(Folder),
    Socket,
}

/// The names in a folder.
#[derive(Clone, Debug, Default)]
pub(super) struct Folder {
    pub(super) now: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
}

/// A name in a folder.
type Place = (u64, OsString);

/// A change that is kept or lost as a whole.
#[derive(Clone, Debug)]
enum Step {
    Put { place: Place, node: u64 },
    Remove { place: Place, node: u64 },
    Move { from: Place, to: Place, node: u64 },
}

impl Tree {
    /// An empty root.
    pub(super) fn new() -> Self {
        let root = Node { path: String::new(), rights: 0o755, ..Node::new(Kind::Folder(Folder::default())) };
        Self { nodes: BTreeMap::from([(ROOT, root)]), next: FIRST, steps: Vec::new() }
    }

    pub(super) fn node(&self, number: u64) -> Result<&Node, Errno> {
        self.nodes.get(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn node_mut(&mut self, number: u64) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(&number).ok_or(Errno::ENOENT)
    }

    pub(super) fn content(&mut self, number: u64) -> Result<&mut Content, Errno> {
        match &mut self.node_mut(number)?.kind {
            Kind::File(content) => Ok(content),
            _ => Err(Errno::EISDIR),
        }
    }

    pub(super) fn folder(&self, number: u64) -> Result<&Folder, Errno> {
        match &self.node(number)?.kind {
            Kind::Folder(folder) => Ok(folder),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn folder_mut(&mut self, number: u64) -> Option<&mut Folder> {
        match &mut self.nodes.get_mut(&number)?.kind {
            Kind::Folder(folder) => Some(folder),
            _ => None,
        }
    }

    /// What a name means now.
    fn set(&mut self, folder: u64, name: &OsStr, node: Option<u64>) {
        let Some(folder) = self.folder_mut(folder) else { return };
        match node {
            Some(node) => folder.now.insert(name.to_owned(), node),
            None => folder.now.remove(name),
        };
    }

    /// The node of a name.
    pub(super) fn look_up(&self, folder: u64, name: &OsStr) -> Result<u64, Errno> {
        self.folder(folder)?.now.get(name).copied().ok_or(Errno::ENOENT)
    }

    /// The path that a name has or would have.
    pub(super) fn path(&self, folder: u64, name: &OsStr) -> String {
        format!("{}/{}", self.node(folder).map_or("", |folder| &folder.path), name.to_string_lossy())
    }

    /// Gives a new node its first name.
    pub(super) fn create(&mut self, folder: u64, name: &OsStr, node: Node) -> Result<u64, Errno> {
        if self.folder(folder)?.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let (number, path) = (self.next, self.path(folder, name));
        self.next += 1;
        self.nodes.insert(number, Node { path, names: 1, ..node });
        self.put(folder, name, number);
        Ok(number)
    }

    /// Gives a node one more name.
    pub(super) fn link(&mut self, number: u64, folder: u64, name: &OsStr) -> Result<(), Errno> {
        if self.folder(folder)?.now.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let path = self.path(folder, name);
        let node = self.node_mut(number)?;
        (node.names, node.path) = (node.names + 1, path);
        self.put(folder, name, number);
        Ok(())
    }

    fn put(&mut self, folder: u64, name: &OsStr, node: u64) {
        self.set(folder, name, Some(node));
        self.steps.push(Step::Put { place: (folder, name.to_owned()), node });
    }

    /// Removes a name: of an empty folder if `is_folder`, else of anything that is none.
    pub(super) fn remove(&mut self, folder: u64, name: &OsStr, is_folder: bool) -> Result<(), Errno> {
        let node = self.look_up(folder, name)?;
        match (&self.node(node)?.kind, is_folder) {
            (Kind::Folder(_), false) => return Err(Errno::EISDIR),
            (Kind::Folder(found), true) if !found.now.is_empty() => return Err(Errno::ENOTEMPTY),
            (Kind::File(_) | Kind::Socket, true) => return Err(Errno::ENOTDIR),
            _ => {}
        }
        self.set(folder, name, None);
        self.forget_name(node);
        self.steps.push(Step::Remove { place: (folder, name.to_owned()), node });
        Ok(())
    }

    /// Moves a name, over another one if there is one.
    pub(super) fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Result<(), Errno> {
        let (node, path) = (self.look_up(from.0, from.1)?, self.path(to.0, to.1));
        let replaced = self.folder(to.0)?.now.get(to.1).copied();
        if replaced == Some(node) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            match &self.node(replaced)?.kind {
                Kind::Folder(found) if !found.now.is_empty() => return Err(Errno::ENOTEMPTY),
                _ => self.forget_name(replaced),
            }
        }
        self.node_mut(node)?.path = path;
        self.set(from.0, from.1, None);
        self.set(to.0, to.1, Some(node));
        self.steps.push(Step::Move { from: (from.0, from.1.to_owned()), to: (to.0, to.1.to_owned()), node });
        Ok(())
    }

    fn forget_name(&mut self, node: u64) {
        self.nodes.get_mut(&node).into_iter().for_each(|node| node.names = node.names.saturating_sub(1));
    }

    /// Makes durable what a sync of this node makes durable.
    pub(super) fn sync(&mut self, number: u64, names: Names) -> Result<(), Errno> {
        if let Kind::File(content) = &mut self.node_mut(number)?.kind {
            content.sync();
        }
        let is_meant = |step: &Step| step.touches(number) || (names == Names::WithTheirFile && step.names(number));
        let (meant, others) = std::mem::take(&mut self.steps).into_iter().partition::<Vec<_>, _>(is_meant);
        self.steps = others;
        meant.iter().for_each(|step| self.make_durable(step));
        Ok(())
    }

    fn make_durable(&mut self, step: &Step) {
        match step {
            Step::Put { place, node } => self.put_durable(place, *node),
            Step::Remove { place, node } => self.remove_durable(place, *node),
            Step::Move { from, to, node } => {
                self.remove_durable(from, *node);
                self.put_durable(to, *node);
            }
        }
    }

    fn put_durable(&mut self, place: &Place, node: u64) {
        if let Some(folder) = self.folder_mut(place.0) {
            folder.durable.insert(place.1.clone(), node);
        }
    }

    fn remove_durable(&mut self, place: &Place, node: u64) {
        if let Some(folder) = self.folder_mut(place.0).filter(|folder| folder.durable.get(&place.1) == Some(&node)) {
            folder.durable.remove(&place.1);
        }
    }

    /// What a power cut leaves.
    pub(super) fn cut(&mut self, keep: Keep, chance: &mut Chance) {
        for step in std::mem::take(&mut self.steps) {
            if keep == Keep::Everything || (keep == Keep::Some && chance.coin()) {
                self.make_durable(&step);
            }
        }
        let reached = self.reached();
        let names = reached.iter().fold(BTreeMap::<u64, u32>::new(), |mut names, (_, node)| {
            *names.entry(*node).or_default() += 1;
            names
        });
        self.nodes.retain(|number, _| *number == ROOT || names.contains_key(number));
        for (number, node) in &mut self.nodes {
            node.names = names.get(number).copied().unwrap_or(1);
            match &mut node.kind {
                Kind::File(content) => *content = std::mem::take(content).after_cut(keep, chance),
                Kind::Folder(folder) => folder.now = folder.durable.clone(),
                Kind::Socket => {}
            }
        }
    }

    /// Becomes another one, and goes on giving numbers that the kernel has not seen.
    pub(super) fn replace(&mut self, other: Self) {
        *self = Self { next: self.next.max(other.next), ..other };
    }

    /// Durable names that the root leads to.
    fn reached(&self) -> BTreeSet<(Place, u64)> {
        let (mut reached, mut folders) = (BTreeSet::new(), vec![ROOT]);
        while let Some(number) = folders.pop() {
            let Ok(folder) = self.folder(number) else { continue };
            for (name, node) in &folder.durable {
                if reached.insert(((number, name.clone()), *node)) {
                    folders.push(*node);
                }
            }
        }
        reached
    }

    /// Bytes of all files that have a name.
    pub(super) fn used(&self) -> u64 {
        let length = |node: &Node| match &node.kind {
            Kind::File(content) if node.names > 0 => content.length() as u64,
            _ => 0,
        };
        self.nodes.values().map(length).sum()
    }
}

impl Node {
    /// Without a name yet.
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, path: String::new(), rights: 0o644, user: 0, group: 0, changed: SystemTime::now(), names: 1 }
    }
}

impl Step {
    /// Whether this folder is changed by it.
    fn touches(&self, folder: u64) -> bool {
        match self {
            Self::Put { place, .. } | Self::Remove { place, .. } => place.0 == folder,
            Self::Move { from, to, .. } => from.0 == folder || to.0 == folder,
        }
    }

    /// Whether it gives this node a name.
    fn names(&self, number: u64) -> bool {
        matches!(self, Self::Put { node, .. } | Self::Move { node, .. } if *node == number)
    }
}
