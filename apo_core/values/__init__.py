"""V*: the optimal value of each prompt, from the rewards of the reference policy's samples."""
