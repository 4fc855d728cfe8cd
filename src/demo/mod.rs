//! `tidings demo`: a broker, an owner and two readers on this machine, as real processes of this very program.
//!
//! Every line that is printed was asserted first; the exit code is not 0 if something does not hold.

mod children; // processes
mod damage; // a flipped byte
mod moves; // to another broker, and back from nothing
mod paragraphs; // what is published
mod revocation; // x goes
mod secrecy; // a look for clear text
mod sources; // what is imported
mod storage; // values outside the queue
mod story; // what happens
mod teller; // what is printed
mod view; // what each node sees
mod workload; // many mutations of few records

use std::path::Path;

use clap::Args;

use crate::args::Globals;
use crate::failure::Failure;
use crate::signal::Stop;
use children::{Children, Stage};
use teller::Teller;

/// Show a broker, an owner and two readers on this machine; exit 0 only if all that is told is so
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the folder with all that the nodes and the broker hold
    #[arg(long)]
    keep: bool,
}

/// Plays it in a folder of its own, which is removed afterwards, and ends every process that it began.
pub(crate) async fn run(globals: Globals, args: DemoArgs) -> Result<(), Failure> {
    let stop = Stop::listen()?;
    let folder = std::env::temp_dir().join(format!("tidings-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    let children = Children::default();
    let stage = Stage::new(folder.clone(), children.clone())?;
    let teller = Teller::new(globals.form());
    let playing = tokio::task::spawn_blocking(move || story::play(&stage, &teller));
    let played = tokio::select! {
        played = playing => played.map_err(|error| Failure::new(error, "report this as a bug")).flatten(),
        () = stop.wait() => Err(Failure::new("interrupted", "repeat")),
    };
    children.end_all();
    let cleaned = match args.keep {
        true => {
            eprintln!("kept {}", folder.display());
            Ok(())
        }
        false => remove(&folder),
    };
    if let (Err(_), Err(left)) = (&played, &cleaned) {
        eprintln!("left behind: {left}");
    }
    played.and(cleaned)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    std::fs::remove_dir_all(folder).map_err(|error| unwritable(folder, &error))
}

fn unwritable(folder: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", folder.display()), "check the folder for temporary files")
}
