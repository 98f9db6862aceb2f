local actions = {}
actions["stop"] = {["displayName"] = "Stop test plans", ["iconClass"] = "fa fa-fw fa-stop"}
actions["retry"] = {["displayName"] = "Retry failed plans", ["iconClass"] = "fa fa-fw fa-redo", ["disabled"] = true}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    -- Some plan could not be stopped.
    if condition.type == "Stalled" and condition.status == "True" then
      actions["retry"]["disabled"] = false
    end
  end
end
return actions
