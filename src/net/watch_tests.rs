//! Which changes of files are noticed, on a real file system.

use std::{
    io::Write as _,
    os::unix::fs::{PermissionsExt, symlink},
    slice,
};

use tempfile::TempDir;

use super::*;

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

/// What a change tells, within the time that notices take and a look now and then would not.
async fn told(watch: &mut Watch) -> Vec<PathBuf> {
    let told = timeout(SELDOM / 2, watch.changed()).await;
    told.expect("a change").into_iter().collect()
}

async fn nothing_is_told(watch: &mut Watch) {
    let told = timeout(2 * REST, watch.changed()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test]
async fn a_file_that_is_written_replaced_or_removed_is_told_once() {
    let desk = Desk::new();
    let (a, b) = (desk.write("a", "1"), desk.write("b", "1"));
    let mut watch = Watch::new([a.clone(), b.clone()]);
    nothing_is_told(&mut watch).await;
    desk.write("a", "2");
    assert_eq!(told(&mut watch).await, slice::from_ref(&a));
    nothing_is_told(&mut watch).await;
    fs::rename(desk.write("new", "3"), &a).unwrap();
    assert_eq!(told(&mut watch).await, slice::from_ref(&a));
    fs::remove_file(&a).unwrap();
    assert_eq!(told(&mut watch).await, slice::from_ref(&a));
    desk.write("a", "4");
    desk.write("b", "4");
    assert_eq!(told(&mut watch).await, [a, b], "together");
    nothing_is_told(&mut watch).await;
}

#[tokio::test]
async fn readers_and_neighbours_are_of_no_note() {
    let desk = Desk::new();
    let a = desk.write("a", "1");
    let mut watch = Watch::new([a.clone()]);
    nothing_is_told(&mut watch).await;
    fs::read(&a).unwrap();
    desk.write("neighbour", "1");
    nothing_is_told(&mut watch).await;
}

#[tokio::test]
async fn a_log_in_the_same_folder_costs_no_look() {
    let desk = Desk::new();
    let file = desk.write("a", "1");
    let mut log = fs::File::create(desk.at("log")).unwrap();
    let mut watch = Watch::new([file]);
    watch.listen().await;
    for _ in 0..100 {
        writeln!(log, "a line").unwrap();
    }
    let woken = timeout(2 * REST, watch.listen().await.next()).await;
    assert!(woken.is_err(), "a line of the log is taken for a change");
    drop(log);
    let woken = timeout(2 * REST, watch.listen().await.next()).await;
    assert!(woken.is_ok(), "who was writing is done");
}

#[tokio::test]
async fn a_swapped_link_is_told_wherever_it_stands_on_the_way() {
    let desk = Desk::new();
    // as certbot does it
    desk.write("archive/cert1.pem", "1");
    desk.write("archive/cert2.pem", "2");
    fs::create_dir(desk.at("live")).unwrap();
    let cert = desk.at("live/cert.pem");
    symlink("../archive/cert1.pem", &cert).unwrap();
    // as a mounted secret does it
    desk.write("secret/..1/ca", "1");
    desk.write("secret/..2/ca", "2");
    symlink("..1", desk.at("secret/..data")).unwrap();
    let ca = desk.at("secret/ca");
    symlink("..data/ca", &ca).unwrap();
    let mut watch = Watch::new([cert.clone(), ca.clone()]);
    nothing_is_told(&mut watch).await;
    symlink("../archive/cert2.pem", desk.at("live/new")).unwrap();
    fs::rename(desk.at("live/new"), &cert).unwrap();
    assert_eq!(told(&mut watch).await, slice::from_ref(&cert));
    symlink("..2", desk.at("secret/new")).unwrap();
    fs::rename(desk.at("secret/new"), desk.at("secret/..data")).unwrap();
    assert_eq!(told(&mut watch).await, slice::from_ref(&ca));
    desk.write("archive/cert2.pem", "3");
    assert_eq!(told(&mut watch).await, [cert], "behind the link");
}

#[tokio::test]
async fn a_change_that_hides_its_time_is_told() {
    let desk = Desk::new();
    let a = desk.write("a", "1");
    let before = fs::metadata(&a).unwrap().modified().unwrap();
    let mut watch = Watch::new([a.clone()]);
    desk.write("a", "2");
    fs::File::open(&a).unwrap().set_modified(before).unwrap();
    assert_eq!(told(&mut watch).await, slice::from_ref(&a));
    fs::set_permissions(&a, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(
        told(&mut watch).await,
        [a],
        "what can be read may be another now"
    );
}

#[tokio::test]
async fn a_change_while_nobody_waits_is_told_at_the_next_call() {
    let desk = Desk::new();
    let a = desk.write("a", "1");
    let mut watch = Watch::new([a.clone()]);
    desk.write("a", "2");
    nothing_but_cancel(&mut watch).await;
    assert_eq!(told(&mut watch).await, [a]);
}

/// A wait that is given up before files can rest.
async fn nothing_but_cancel(watch: &mut Watch) {
    let given_up = timeout(REST / 2, watch.changed()).await;
    assert!(given_up.is_err());
}

#[tokio::test]
async fn a_writer_without_end_is_told_of_nevertheless() {
    let desk = Desk::new();
    let a = desk.write("a", "1");
    let mut watch = Watch::new([a.clone()]);
    let busy = async {
        loop {
            desk.write("busy", "1");
            desk.write("a", "1");
            tokio::time::sleep(REST / 4).await;
        }
    };
    tokio::select! {
        told = told(&mut watch) => assert_eq!(told, [a]),
        () = busy => {}
    }
}

#[tokio::test]
async fn other_files_may_be_followed_and_what_was_missed_of_the_old_is_told() {
    let desk = Desk::new();
    let (a, b) = (desk.write("a", "1"), desk.at("later/b"));
    let mut watch = Watch::new([a.clone()]);
    nothing_is_told(&mut watch).await;
    desk.write("a", "2");
    watch.follow([a.clone(), b.clone()]);
    assert_eq!(told(&mut watch).await, [a]);
    watch.follow([b.clone()]);
    desk.write("a", "3");
    nothing_is_told(&mut watch).await;
    desk.write("later/b", "1");
    assert_eq!(
        told(&mut watch).await,
        [b],
        "its folder was not there either"
    );
}

#[tokio::test]
async fn a_folder_that_is_replaced_is_told_without_a_notice() {
    let desk = Desk::new();
    let a = desk.write("old/a", "1");
    desk.write("new/a", "2");
    let mut watch = Watch::new([a.clone()]);
    nothing_is_told(&mut watch).await;
    watch.notices = Notices::none();
    fs::rename(desk.at("old"), desk.at("gone")).unwrap();
    fs::rename(desk.at("new"), desk.at("old")).unwrap();
    assert_eq!(told(&mut watch).await, [a]);
}
