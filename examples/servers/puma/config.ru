# Rack: / at once, /slow after a tenth of a second.
version = ENV.fetch("HANDOFF_VERSION", "none")
generation = ENV.fetch("HANDOFF_GENERATION", "none")

run(proc do |env|
  sleep 0.1 if env["PATH_INFO"] == "/slow"
  body = "version #{version} (generation #{generation}, pid #{Process.pid})\n"
  headers = { "Content-Type" => "text/plain", "X-Version" => version, "X-Generation" => generation }
  [200, headers, [body]]
end)
