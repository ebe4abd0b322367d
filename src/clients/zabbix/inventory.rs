//! Certificates that are kept in the inventory of a host in Zabbix.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::docker::Certificates;
use crate::clients::zabbix::Zabbix;
use crate::config::Zabbix as Access;
use crate::error::{Error, Result};

/// For each call.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// The certificates in the inventory of the one host whose alias is `component`: `notes` the key, `poc_1_notes` the CA, `poc_2_notes` the
/// certificate. Zabbix finds by parts of the alias; here it must be equal.
///
/// # Errors
/// There is no such host, or more than one, or one of the three is empty.
pub async fn certificates(access: &Access, component: &str) -> Result<Certificates> {
    let zabbix = Zabbix::connect(access, CALL_LIMIT).await?;
    let fields = ["alias", "notes", "poc_1_notes", "poc_2_notes"];
    let params = json!({"output": ["host"], "selectInventory": fields, "searchInventory": {"alias": component}});
    let found = zabbix.list("host.get", params).await?;
    zabbix.close().await?;
    pick(&found, component)
}

fn pick(found: &[Value], component: &str) -> Result<Certificates> {
    let field = |host: &Value, key: &str| {
        host.pointer(&format!("/inventory/{key}"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let equal: Vec<&Value> = found
        .iter()
        .filter(|host| field(host, "alias") == component)
        .collect();
    let host = match equal.as_slice() {
        [only] => *only,
        [] => {
            return Err(Error::Conflict(format!(
                "no host in Zabbix has the inventory alias \"{component}\", so there are no certificates"
            )));
        }
        more => {
            let names: Vec<_> = more
                .iter()
                .filter_map(|host| host.get("host")?.as_str())
                .collect();
            return Err(Error::Conflict(format!(
                "{} hosts in Zabbix have the inventory alias \"{component}\": {}; it must be one",
                more.len(),
                names.join(", ")
            )));
        }
    };
    let pem = |key: &str, what: &str| {
        let text = field(host, key);
        if text.contains("-----BEGIN ") {
            // A front end keeps lines as the browser sent them.
            return Ok(text.replace("\r\n", "\n"));
        }
        Err(Error::Conflict(format!(
            "the inventory field {key} of the Zabbix host with the alias \"{component}\" holds no {what} in PEM form"
        )))
    };
    Ok(Certificates {
        key: pem("notes", "private key")?.into(),
        ca: pem("poc_1_notes", "CA certificate")?,
        cert: pem("poc_2_notes", "certificate")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret as _;

    fn host(name: &str, alias: &str, key: &str) -> Value {
        let pem = |what: &str| format!("-----BEGIN {what}-----\r\nx\r\n-----END {what}-----");
        json!({"host": name, "inventory": {"alias": alias, "notes": key, "poc_1_notes": pem("CA"), "poc_2_notes": pem("CERT")}})
    }

    fn fault(found: &[Value]) -> String {
        pick(found, "consul").err().unwrap().to_string()
    }

    #[test]
    fn exactly_one_host_with_the_very_alias_gives_its_certificates() {
        let key = "-----BEGIN KEY-----";
        let certificates = pick(
            &[host("a", "consul-ui", key), host("b", "consul", key)],
            "consul",
        )
        .unwrap();
        assert_eq!(certificates.key.expose_secret(), key);
        assert_eq!(certificates.ca, "-----BEGIN CA-----\nx\n-----END CA-----");
        assert!(fault(&[host("a", "consul-ui", key)]).contains("no host in Zabbix"));
        assert!(
            fault(&[host("a", "consul", key), host("b", "consul", key)])
                .contains("2 hosts in Zabbix have the inventory alias \"consul\": a, b")
        );
    }

    #[test]
    fn a_field_that_holds_no_pem_is_named_and_not_shown() {
        let fault = fault(&[host("a", "consul", "hunter2")]);
        assert!(
            fault.contains("the inventory field notes") && !fault.contains("hunter2"),
            "{fault}"
        );
    }
}
