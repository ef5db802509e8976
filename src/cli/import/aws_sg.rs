//! Security groups of AWS, as `aws ec2 describe-security-groups` prints them. Floor 5: pure.
//!
//! They only admit, so their order does not matter.

use serde_json::Value;

use super::{
    Found,
    firewall::{Scope, network},
    rule::{Label, Place, Remark, Verdict},
};

/// # Errors
/// Why the text is not what was expected.
pub(super) fn read(text: &str, scope: &Scope) -> Result<Found, String> {
    let document: Value =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    let groups = document.get("SecurityGroups").unwrap_or(&document);
    let groups = groups.as_array().ok_or(
        "there are no `SecurityGroups` in it: `aws ec2 describe-security-groups` prints them",
    )?;
    let mut found = Found::default();
    let mut others = 0;
    for group in groups {
        let (id, name) = (text_of(group, "GroupId"), text_of(group, "GroupName"));
        let permissions = group.get("IpPermissions").and_then(Value::as_array);
        let permissions =
            permissions.ok_or_else(|| format!("the group {id} has no `IpPermissions`"))?;
        for (number, permission) in (1..).zip(permissions) {
            if !is_for(permission, scope.port) {
                others += 1;
                continue;
            }
            let place = Place::named(format!("{id} ({name}), rule {number}"));
            permitted(permission, &place, name, scope, &mut found);
        }
    }
    scope.general(others, &mut found);
    Ok(found)
}

fn permitted(permission: &Value, place: &Place, name: &str, scope: &Scope, found: &mut Found) {
    for (list, key) in [("IpRanges", "CidrIp"), ("Ipv6Ranges", "CidrIpv6")] {
        for range in items(permission, list) {
            let cidr = text_of(range, key);
            let label = Label::of(text_of(range, "Description"), name);
            if let Some(network) = network(cidr) {
                let networks = vec![network];
                let rule = scope.rule(place.clone(), Verdict::Admit, networks, Some(label));
                found.rules.push(rule);
            } else {
                let text = format!("`{cidr}` is no address range");
                found.remarks.push(Remark::stopped(&[place], text));
            }
        }
    }
    let elsewhere = [
        (
            "UserIdGroupPairs",
            "GroupId",
            "the machines of the group",
            "whose addresses AWS knows: write down theirs",
        ),
        (
            "PrefixListIds",
            "PrefixListId",
            "the prefix list",
            "that AWS keeps: write down its networks",
        ),
    ];
    for (list, key, what, hint) in elsewhere {
        for item in items(permission, list) {
            let text = format!("{what} {}, {hint}", text_of(item, key));
            found.remarks.push(Remark::left_out(place, text));
        }
    }
}

/// Whether TCP to the port is meant.
fn is_for(permission: &Value, port: u16) -> bool {
    let number = |key: &str, absent: u64| {
        let value = permission.get(key).and_then(Value::as_u64);
        value.unwrap_or(absent)
    };
    match text_of(permission, "IpProtocol") {
        "-1" => true,
        "tcp" | "6" => {
            let ports = number("FromPort", 0)..=number("ToPort", u64::from(u16::MAX));
            ports.contains(&u64::from(port))
        }
        _ => false,
    }
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    let list = value.get(key).and_then(Value::as_array);
    list.into_iter().flatten()
}

fn text_of<'v>(value: &'v Value, key: &str) -> &'v str {
    let text = value.get(key).and_then(Value::as_str);
    text.unwrap_or_default()
}
