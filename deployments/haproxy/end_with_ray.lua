-- Ends HAProxy when the raylet that its manager belongs to is gone. HAProxy outlives a manager
-- that is killed, so that clients notice nothing until the next one takes over; without this it
-- would outlive Ray as well.
local stat, started = os.getenv("DENSENET_RAYLET_STAT"), os.getenv("DENSENET_RAYLET_STARTED")

local function is_there()
    local file = io.open(stat)
    if file == nil then
        return false
    end
    local line = file:read("a")
    file:close()
    -- After the name, in brackets: the state, and as the 20th field the time of the start, by
    -- which another process with the same id is told apart.
    local fields = {}
    for field in line:match(".*%)(.*)"):gmatch("%S+") do
        fields[#fields + 1] = field
    end
    return fields[1] ~= "Z" and fields[20] == started
end

core.register_task(function()
    while is_there() do
        core.msleep(1000)
    end
    os.exit(0)
end)
