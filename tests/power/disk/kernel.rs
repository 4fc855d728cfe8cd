//! What the kernel asks, in its words. Nothing is cached there: every read and write comes here.

use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow,
    WriteFlags,
};

use super::content::Content;
use super::mount::{Inner, Shared};
use super::rules::Operation;
use super::tree::{Folder, Kind, Node, ROOT, Tree};

/// What is asked, and who answers.
pub(super) struct Kernel(pub(super) Arc<Shared>);

/// How long the kernel may believe an answer: after a cut it would be wrong.
const BELIEVED: Duration = Duration::ZERO;
/// Size of a block in answers, bytes.
const BLOCK_BYTES: u32 = 4096;
/// What a file system without a limit says it has, bytes.
const ENDLESS: u64 = 1 << 40;
/// `fallocate` that leaves the length alone.
const KEEP_SIZE: i32 = 1;
/// Bits of a mode that say what it is, and those of a socket.
const TYPE: u32 = 0o170_000;
const SOCKET: u32 = 0o140_000;

impl Kernel {
    /// A change of a name.
    fn name<T>(
        &self,
        operation: Operation,
        folder: INodeNo,
        name: &OsStr,
        change: impl FnOnce(&mut Inner) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        change(&mut *self.0.change(operation, |tree| tree.path(folder.0, name))?)
    }

    /// A change of a node.
    fn node<T>(&self, operation: Operation, node: INodeNo, change: impl FnOnce(&mut Inner) -> Result<T, Errno>) -> Result<T, Errno> {
        let path = |tree: &Tree| tree.node(node.0).map_or_else(|_| String::new(), |node| node.path.clone());
        let mut inner = self.0.change(operation, path)?;
        let done = change(&mut inner);
        if matches!(&done, Err(error) if *error == Errno::ENOSPC) {
            self.0.failed(&mut inner);
        }
        done
    }

    fn look<T>(&self, look: impl FnOnce(&mut Inner) -> Result<T, Errno>) -> Result<T, Errno> {
        look(&mut *self.0.look()?)
    }

    fn make(&self, request: &Request, folder: INodeNo, name: &OsStr, rights: u32, kind: Kind) -> Result<FileAttr, Errno> {
        let node = Node { rights: rights as u16 & 0o7777, user: request.uid(), group: request.gid(), ..Node::new(kind) };
        self.name(Operation::Create, folder, name, |inner| {
            let number = inner.tree.create(folder.0, name, node)?;
            about(&inner.tree, number)
        })
    }
}

impl Inner {
    /// Makes sure that a file may reach `end`.
    fn require(&mut self, node: u64, end: u64) -> Result<(), Errno> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let more = end.saturating_sub(self.tree.content(node)?.length() as u64);
        if more == 0 || self.tree.used() + more <= capacity { Ok(()) } else { Err(Errno::ENOSPC) }
    }
}

#[allow(clippy::too_many_arguments, reason = "the trait has them")]
impl Filesystem for Kernel {
    fn lookup(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.look(|inner| about(&inner.tree, inner.tree.look_up(folder.0, name)?)), reply);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        attributes(self.look(|inner| about(&inner.tree, node.0)), reply);
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        changed: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let operation = if size.is_some() { Operation::Write } else { Operation::Other };
        let done = self.node(operation, number, |inner| {
            if let Some(size) = size {
                inner.require(number.0, size)?;
                inner.tree.content(number.0)?.set_length(length(size)?);
            }
            let node = inner.tree.node_mut(number.0)?;
            node.rights = mode.map_or(node.rights, |mode| mode as u16 & 0o7777);
            (node.user, node.group) = (user.unwrap_or(node.user), group.unwrap_or(node.group));
            node.changed = match changed {
                Some(TimeOrNow::SpecificTime(time)) => time,
                Some(TimeOrNow::Now) => SystemTime::now(),
                None => node.changed,
            };
            about(&inner.tree, number.0)
        });
        attributes(done, reply);
    }

    fn mknod(&self, request: &Request, folder: INodeNo, name: &OsStr, mode: u32, umask: u32, _: u32, reply: ReplyEntry) {
        let kind = if mode & TYPE == SOCKET { Kind::Socket } else { Kind::File(Content::default()) };
        entry(self.make(request, folder, name, mode & !umask, kind), reply);
    }

    fn mkdir(&self, request: &Request, folder: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        entry(self.make(request, folder, name, mode & !umask, Kind::Folder(Folder::default())), reply);
    }

    fn unlink(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.name(Operation::Other, folder, name, |inner| inner.tree.remove(folder.0, name, false)), reply);
    }

    fn rmdir(&self, _: &Request, folder: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.name(Operation::Other, folder, name, |inner| inner.tree.remove(folder.0, name, true)), reply);
    }

    fn rename(&self, _: &Request, folder: INodeNo, name: &OsStr, to: INodeNo, as_name: &OsStr, flags: RenameFlags, reply: ReplyEmpty) {
        let done = match flags.is_empty() {
            true => self.name(Operation::Create, to, as_name, |inner| inner.tree.rename((folder.0, name), (to.0, as_name))),
            false => Err(Errno::EINVAL),
        };
        empty(done, reply);
    }

    fn link(&self, _: &Request, node: INodeNo, folder: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let done = self.name(Operation::Create, folder, name, |inner| {
            inner.tree.link(node.0, folder.0, name)?;
            about(&inner.tree, node.0)
        });
        entry(done, reply);
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn create(&self, request: &Request, folder: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        match self.make(request, folder, name, mode & !umask, Kind::File(Content::default())) {
            Ok(about) => reply.created(&BELIEVED, &about, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(error),
        }
    }

    fn read(&self, _: &Request, node: INodeNo, _: FileHandle, at: u64, size: u32, _: OpenFlags, _: Option<LockOwner>, reply: ReplyData) {
        match self.look(|inner| Ok(inner.tree.content(node.0)?.read(length(at)?, size as usize).to_vec())) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let done = self.node(Operation::Write, node, |inner| {
            inner.require(node.0, at + bytes.len() as u64)?;
            inner.tree.content(node.0)?.write(length(at)?, bytes);
            inner.tree.node_mut(node.0)?.changed = SystemTime::now();
            Ok(bytes.len() as u32)
        });
        match done {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(&self, _: &Request, node: INodeNo, _: FileHandle, at: u64, size: u64, mode: i32, reply: ReplyEmpty) {
        let done = self.node(Operation::Write, node, |inner| {
            inner.require(node.0, at + size)?;
            let content = inner.tree.content(node.0)?;
            let end = length(at + size)?;
            match mode {
                0 if content.length() < end => content.set_length(end),
                0 | KEEP_SIZE => {}
                _ => return Err(Errno::EOPNOTSUPP),
            }
            Ok(())
        });
        empty(done, reply);
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        let done = self.node(Operation::Sync, node, |inner| match inner.lies {
            true => Ok(()),
            false => inner.tree.sync(node.0, inner.names),
        });
        empty(done, reply);
    }

    fn fsyncdir(&self, request: &Request, node: INodeNo, handle: FileHandle, only_data: bool, reply: ReplyEmpty) {
        self.fsync(request, node, handle, only_data, reply);
    }

    fn readdir(&self, _: &Request, folder: INodeNo, _: FileHandle, after: u64, mut reply: ReplyDirectory) {
        match self.look(|inner| listing(&inner.tree, folder.0)) {
            Ok(entries) => {
                // Places in the listing are numbers of nodes: they stay what they are while names come and go.
                let rest = entries.into_iter().filter(|(place, ..)| *place > after);
                let _ = rest.into_iter().any(|(place, number, kind, name)| reply.add(INodeNo(number), place, kind, name));
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.look(|inner| Ok((inner.capacity.unwrap_or(ENDLESS), inner.tree.used()))) {
            Ok((capacity, used)) => {
                let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
                let free = blocks(capacity.saturating_sub(used));
                reply.statfs(blocks(capacity), free, free, ENDLESS, ENDLESS, BLOCK_BYTES, 255, BLOCK_BYTES);
            }
            Err(error) => reply.error(error),
        }
    }
}

type Listed = (u64, u64, FileType, std::ffi::OsString);

fn listing(tree: &Tree, folder: u64) -> Result<Vec<Listed>, Errno> {
    let mut entries = vec![(1, folder, FileType::Directory, ".".into()), (2, ROOT, FileType::Directory, "..".into())];
    for (name, number) in &tree.folder(folder)?.now {
        entries.push((*number, *number, kind(&tree.node(*number)?.kind), name.clone()));
    }
    entries.sort_by_key(|(place, ..)| *place);
    Ok(entries)
}

fn kind(kind: &Kind) -> FileType {
    match kind {
        Kind::File(_) => FileType::RegularFile,
        Kind::Folder(_) => FileType::Directory,
        Kind::Socket => FileType::Socket,
    }
}

fn about(tree: &Tree, number: u64) -> Result<FileAttr, Errno> {
    let node = tree.node(number)?;
    let size = if let Kind::File(content) = &node.kind { content.length() as u64 } else { 0 };
    Ok(FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: node.changed,
        mtime: node.changed,
        ctime: node.changed,
        crtime: node.changed,
        kind: kind(&node.kind),
        perm: node.rights,
        nlink: node.names,
        uid: node.user,
        gid: node.group,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    })
}

fn length(bytes: u64) -> Result<usize, Errno> {
    // Far more than a test writes: a wrong offset is to be an error and not all of the memory.
    usize::try_from(bytes).ok().filter(|bytes| *bytes < 1 << 32).ok_or(Errno::EFBIG)
}

fn entry(done: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match done {
        Ok(about) => reply.entry(&BELIEVED, &about, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn attributes(done: Result<FileAttr, Errno>, reply: ReplyAttr) {
    match done {
        Ok(about) => reply.attr(&BELIEVED, &about),
        Err(error) => reply.error(error),
    }
}

fn empty(done: Result<(), Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}
