//! One file per subcommand.

pub(crate) mod apply;
pub(crate) mod bench;
mod branches; // how conflicts and merges are printed
pub(crate) mod broker;
pub(crate) mod brokers;
pub(crate) mod completions;
pub(crate) mod doctor;
mod draft; // files that appear when they are whole
pub(crate) mod export;
mod failures; // what errors of the datastore mean
pub(crate) mod follow;
mod followed; // how fresh answers about others are
pub(crate) mod get;
pub(crate) mod grant;
pub(crate) mod id;
pub(crate) mod import;
pub(crate) mod init;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod put;
pub(crate) mod readers;
mod record; // how records are printed
pub(crate) mod rescued;
mod restore; // `init --restore` and `--take-over`
pub(crate) mod revoke;
pub(crate) mod rm;
pub(crate) mod status;
pub(crate) mod unfollow;
pub(crate) mod up;
mod values; // verified values of records
pub(crate) mod verify;
pub(crate) mod watch;
