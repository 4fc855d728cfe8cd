//! demo
use crate::args::Globals;
use crate::failure::Failure;
use clap::Args;
/// Demo
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {}
pub(crate) async fn run(_: Globals, _: DemoArgs) -> Result<(), Failure> {
    Ok(())
}
