-- Usage: th forward.lua MODEL INPUT OUTPUT
-- INPUT holds {path = keys from the file's root to the network, input = a tensor or a table of tensors}.
-- OUTPUT becomes the table of the network's output tensors, in order.
require 'torch'
require 'nn'
for _, package in ipairs { 'nngraph', 'dpnn', 'rnn', 'nnx', 'inn', 'cunn', 'cudnn' } do
   pcall(require, package)
end

local function load_any(file)
   local ok, value = pcall(torch.load, file)
   if ok then return value end
   return torch.load(file, 'ascii')
end

local network = load_any(arg[1])
local asked = torch.load(arg[2])
for _, key in ipairs(asked.path) do
   network = network[key]
end
network:evaluate()
if pcall(require, 'cudnn') and cudnn then
   pcall(cudnn.convert, network, nn)
end
network:float()

local function as_float(value)
   if torch.isTensor(value) then return value:float() end
   local made = {}
   for i, item in ipairs(value) do made[i] = as_float(item) end
   return made
end

local flat = {}
local function flatten(value)
   if torch.isTensor(value) then
      table.insert(flat, value:contiguous())
   else
      for _, item in ipairs(value) do flatten(item) end
   end
end

flatten(network:forward(as_float(asked.input)))
torch.save(arg[3], flat)
