//! Which part a chunk about a tool's call or about data belongs to.

use super::Message;
use super::chunk::{Chunk, ChunkError};
use super::parts::{Data, Part};
use super::tool::Tool;

impl Message {
    /// Takes a chunk about a tool's call. What needs a call that was never begun is passed over, where the reducer throws.
    pub(super) fn take_tool(&mut self, kind: &str, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let Some(call_id) = chunk.id("toolCallId")? else { return Ok(()) };
        match kind {
            "tool-input-start" => {
                let place = self.begun_call(&call_id, chunk, Tool::start)?;
                self.inputs.insert(call_id.into(), place);
                Ok(())
            }
            "tool-input-delta" => {
                let delta = chunk.text("inputTextDelta")?;
                // Its part may stand in an earlier step, where the reducer would begin a second one.
                let place = self.inputs.get(&*call_id).copied();
                self.change_tool(place, |tool| {
                    tool.append(delta);
                    Ok(())
                })
            }
            "tool-input-available" => self.begun_call(&call_id, chunk, Tool::take_input).map(drop),
            "tool-input-error" => match self.call_in_step(&call_id, |_| true) {
                Some(place) => self.change_tool(Some(place), |tool| tool.refuse_input(chunk)),
                None => self.begun_call(&call_id, chunk, Tool::refuse_input).map(drop),
            },
            "tool-output-available" => self.change_call(&call_id, |tool| {
                tool.take_output(chunk);
                Ok(())
            }),
            "tool-output-error" => self.change_call(&call_id, |tool| tool.fail(chunk)),
            "tool-approval-request" => self.change_call(&call_id, |tool| tool.ask_approval(chunk)),
            "tool-output-denied" => self.change_call(&call_id, |tool| {
                tool.deny();
                Ok(())
            }),
            _ => Ok(()),
        }
    }

    /// Changes the call of this step that is dynamic or static as the chunk says; a new one if there is none. A call with this id in an
    /// earlier step is another call.
    fn begun_call(
        &mut self,
        call_id: &str,
        chunk: &Chunk<'_>,
        change: impl FnOnce(&mut Tool, &Chunk<'_>) -> Result<(), ChunkError>,
    ) -> Result<usize, ChunkError> {
        let is_dynamic = chunk.is("dynamic");
        if let Some(place) = self.call_in_step(call_id, |tool| tool.is_dynamic == is_dynamic) {
            self.change_tool(Some(place), |tool| change(tool, chunk))?;
            return Ok(place);
        }
        let mut tool = Tool::new(chunk, is_dynamic)?;
        change(&mut tool, chunk)?;
        let place = self.add_content(Part::Tool(Box::new(tool)))?;
        self.calls.entry(call_id.into()).or_default().push(place);
        Ok(place)
    }

    /// Changes the call that an output or an approval belongs to: of this step, else the latest.
    fn change_call(
        &mut self,
        call_id: &str,
        change: impl FnOnce(&mut Tool) -> Result<(), ChunkError>,
    ) -> Result<(), ChunkError> {
        let latest = || self.calls.get(call_id).and_then(|places| places.last().copied());
        let place = self.call_in_step(call_id, |_| true).or_else(latest);
        self.change_tool(place, change)
    }

    /// The first call of this step with this id that `is_meant`.
    fn call_in_step(&self, call_id: &str, is_meant: impl Fn(&Tool) -> bool) -> Option<usize> {
        let places = self.calls.get(call_id)?;
        let first = places.partition_point(|&place| place < self.step);
        let meant = |place: &usize| matches!(&self.parts[*place], Part::Tool(tool) if is_meant(tool));
        places[first..].iter().copied().find(meant)
    }

    fn change_tool(
        &mut self,
        place: Option<usize>,
        change: impl FnOnce(&mut Tool) -> Result<(), ChunkError>,
    ) -> Result<(), ChunkError> {
        let Some(place) = place else { return Ok(()) };
        self.change(place, |part| if let Part::Tool(tool) = part { change(tool) } else { Ok(()) })
    }

    /// Takes a `data-*` chunk. Data without an id never replaces.
    pub(super) fn take_data(&mut self, kind: &str, chunk: &Chunk<'_>) -> Result<(), ChunkError> {
        let Some(id) = chunk.id("id")? else { return self.add_content(Part::Data(Data::new(chunk))).map(drop) };
        let key = (kind.into(), id.into());
        if let Some(&place) = self.data.get(&key) {
            self.change(place, |part| {
                if let Part::Data(data) = part {
                    data.replace(chunk);
                }
            });
            return Ok(());
        }
        let place = self.add_content(Part::Data(Data::new(chunk)))?;
        self.data.insert(key, place);
        Ok(())
    }
}
