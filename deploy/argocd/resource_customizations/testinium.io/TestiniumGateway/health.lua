local health = {status = "Progressing", message = "testinium-operator has not seen this version yet"}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
-- Of a run, Stopped has the sentence that says what is.
local told = found.Stopped or found.Ready
if told ~= nil then
  health.message = told.reason .. ": " .. told.message
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  health.status = "Degraded"
elseif found.Ready ~= nil and found.Ready.status == "True" then
  health.status = "Healthy"
  if found.Ready.reason == "Suspended" then
    health.status = "Suspended"
  end
end
return health
