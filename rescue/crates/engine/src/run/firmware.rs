//! The boot entries of the firmware: written when the volumes hold what they are to hold, before the fences go down.

use super::Context;
use model::firmware::{BOOT_ATTRIBUTES, Value, Variable, VariableWrite};
use model::ports::BootVariables;
use std::io;

/// Writes what the plan says, in its order, and reads each back. What is not as the plan found it is left alone. No failure stops
/// the run, which has the disks half way: it is told.
pub(crate) fn write(cx: &Context<'_>, writes: &[VariableWrite]) {
    if writes.is_empty() {
        return;
    }
    let Some(variables) = cx.devices.boot_variables() else {
        cx.observer.log("the firmware's boot entries are not seen here, and were left as they are");
        return;
    };
    for w in writes {
        match one(&*variables, w) {
            Ok(Done::Written) => cx.observer.log(&format!("{}: {}", w.name, w.says)),
            Ok(Done::Already) => {}
            Ok(Done::Other) => cx.observer.log(&format!("{} changed meanwhile and was left as it is", w.name)),
            Err(e) => cx.observer.log(&format!(
                "{} of the firmware could not be written ({e}): the disks are as planned; where the machine does not start from them, \
                 choose them in the firmware's own menu",
                w.name
            )),
        }
    }
}

enum Done {
    Written,
    Already,
    Other,
}

fn one(variables: &dyn BootVariables, w: &VariableWrite) -> io::Result<Done> {
    let is = value(variables, &w.name)?;
    if is == w.after {
        return Ok(Done::Already);
    }
    if is != w.before {
        return Ok(Done::Other);
    }
    match &w.after {
        Some(value) => {
            let (name, value) = (w.name.clone(), value.clone());
            variables.set(&Variable { name, attributes: BOOT_ATTRIBUTES, value })?;
        }
        None => variables.remove(&w.name)?,
    }
    match value(variables, &w.name)? == w.after {
        true => Ok(Done::Written),
        false => Err(io::Error::other("it does not read back as it was written")),
    }
}

fn value(variables: &dyn BootVariables, name: &str) -> io::Result<Option<Value>> {
    Ok(variables.read_all()?.into_iter().find(|v| v.name == name).map(|v| v.value))
}
