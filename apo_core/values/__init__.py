"""V*: the optimal value of each prompt, estimated from the rewards of the reference policy's samples."""
