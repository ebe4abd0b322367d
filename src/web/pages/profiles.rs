//! `/profiles`: how nodes and JVMs are reached and what is launched. Secrets are never shown, only where they come from.

use askama::Template;

use crate::models::HostKeyPolicy;
use crate::models::ec2_profile::Ec2Profile;
use crate::models::jvm_profile::JvmProfile;
use crate::models::node::{Node, jvm_profiles_of_nodes};
use crate::models::ssh_profile::SshProfile;
use crate::web::error::Answer;
use crate::web::pages::{Layout, Nav, Visit};

struct SshLine {
    name: String,
    login: String,
    key: String,
    trust: &'static str,
    nodes: usize,
}

struct JvmLine {
    name: String,
    at: String,
    login: String,
    tls: bool,
    nodes: usize,
}

struct Ec2Line {
    name: String,
    region: String,
    image: String,
    instance_type: String,
    nodes: usize,
}

#[derive(Template)]
#[template(path = "profiles.html")]
struct ProfilesPage {
    layout: Layout,
    ssh: Vec<SshLine>,
    jvm: Vec<JvmLine>,
    ec2: Vec<Ec2Line>,
}

/// `GET /profiles`.
///
/// # Errors
/// The database fails.
pub async fn list(visit: Visit) -> Answer {
    let layout = visit.layout(Nav::Profiles, "Profiles").await?;
    let (ssh, jvm, ec2, nodes, jvms) = visit
        .app
        .db
        .read(|conn| {
            Ok((
                SshProfile::all(conn)?,
                JvmProfile::all(conn)?,
                Ec2Profile::all(conn)?,
                Node::all(conn)?,
                jvm_profiles_of_nodes(conn)?,
            ))
        })
        .await?;
    let users = |uses: &dyn Fn(&Node) -> bool| nodes.iter().filter(|node| uses(node)).count();
    visit.show(&ProfilesPage {
        ssh: ssh
            .into_iter()
            .map(|it| {
                let nodes = users(&|node| node.ssh_profile_id == Some(it.id));
                ssh_line(it, nodes)
            })
            .collect(),
        jvm: jvm
            .into_iter()
            .map(|it| {
                let nodes = jvms.iter().filter(|(_, jvm)| *jvm == it.id).count();
                jvm_line(it, nodes)
            })
            .collect(),
        ec2: ec2
            .into_iter()
            .map(|it| Ec2Line {
                nodes: users(&|node| node.ec2_profile_id == Some(it.id)),
                name: it.name,
                region: it.region,
                image: it.image_id,
                instance_type: it.instance_type,
            })
            .collect(),
        layout,
    })
}

/// Where the key of a profile is, and what else belongs to it.
fn key_words(profile: &SshProfile) -> String {
    let mut words = match (&profile.private_key_file, profile.private_key_secret) {
        _ if profile.agent => "of the ssh-agent".to_owned(),
        (Some(file), _) => format!("file {file}"),
        (None, Some(_)) => "kept in the vault".to_owned(),
        (None, None) => "none".to_owned(),
    };
    if profile.passphrase_env.is_some() || profile.passphrase_secret.is_some() {
        words.push_str(", with a passphrase");
    }
    if let Some(file) = &profile.certificate_file {
        words.push_str(&format!(", certificate {file}"));
    }
    words
}

fn ssh_line(profile: SshProfile, nodes: usize) -> SshLine {
    SshLine {
        login: match &profile.proxy_jump {
            Some(jump) => format!("{} on port {}, through {jump}", profile.login, profile.port),
            None => format!("{} on port {}", profile.login, profile.port),
        },
        key: key_words(&profile),
        trust: match profile.host_keys {
            HostKeyPolicy::Pinned => "only the pinned keys",
            HostKeyPolicy::FirstUse => "the first key, a changed one when a person accepts it",
        },
        name: profile.name,
        nodes,
    }
}

fn jvm_line(profile: JvmProfile, nodes: usize) -> JvmLine {
    JvmLine {
        at: match (&profile.url, profile.port) {
            (Some(url), _) => url.clone(),
            (None, Some(port)) => format!("port {port}"),
            (None, None) => String::new(),
        },
        login: profile.login.unwrap_or_else(|| "nobody".to_owned()),
        tls: profile.tls,
        name: profile.name,
        nodes,
    }
}
