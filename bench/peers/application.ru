# The same application for puma.
portions = Enumerator.new do |to|
  30.times do
    to << "." * 64
    sleep 0.1
  end
end

run lambda { |environment|
  head = { "x-generation" => Process.pid.to_s, "Content-Type" => "text/plain" }
  next [200, head, portions] if environment["PATH_INFO"] == "/stream"

  [200, head.merge("Content-Length" => "3"), ["ok\n"]]
}
