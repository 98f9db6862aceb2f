local os = require("os")
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
-- Each new value asks anew, so it is the time.
obj.metadata.annotations["testinium.io/stop"] = "argocd-" .. os.date("!%Y-%m-%dT%XZ")
return obj
